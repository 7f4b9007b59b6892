/** What callers hand in, whatever it is: it is refused as their fault, and nobody else notices. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option } from "effect"
import type { SubmitItem } from "../../../src/SyncEngineApi.js"
import { contentHashOf, textOf } from "../../../src/SyncItem.js"
import { items, PlayedArchive, start } from "../support.js"

const throwing = (field: keyof SubmitItem): SubmitItem =>
  Object.defineProperty({ id: "x", content: "x" }, field, {
    get: () => {
      throw new Error("not now")
    }
  })

const fields = ["id", "content", "version", "state", "contentType", "traceparent"] as const

const detached = (): Uint8Array => {
  const content = new Uint8Array([1, 2, 3])
  structuredClone(content.buffer, { transfer: [content.buffer] })
  return content
}

const shrunk = (): Uint8Array => {
  // Resizable buffers are younger than the types.
  const buffer = Reflect.construct(ArrayBuffer, [16, { maxByteLength: 16 }]) as ArrayBuffer & {
    resize: (bytes: number) => void
  }
  const content = new Uint8Array(buffer, 8, 4)
  buffer.resize(4)
  return content
}

describe("a getter that throws", () => {
  it.scoped("refuses its own item, and what stood before it in the batch is written", () =>
    Effect.gen(function* () {
      const { service } = yield* start()
      for (const field of fields) {
        const results = yield* service.submitMany([
          { id: `before.${field}`, content: "1" },
          throwing(field),
          { id: `after.${field}`, content: "1" }
        ])
        expect(results.map(({ _tag }) => _tag)).toEqual(["Acknowledged", "Rejected", "Acknowledged"])
        expect(results[1]).toMatchObject({
          error: { _tag: "InvalidItem", field: "item", problem: "could not be read: not now" }
        })
        expect(yield* Effect.flip(service.submit(throwing(field)))).toMatchObject({ _tag: "InvalidItem" })
        expect(yield* Effect.flip(service.submit(throwing(field), { expectedVersion: 0 }))).toMatchObject({
          _tag: "InvalidItem"
        })
      }
    })
  )

  it.scoped("leaves nothing behind that a compare-and-set or an insertion would wait for", () =>
    Effect.gen(function* () {
      const { service } = yield* start()
      const list = new Proxy(items(3), {
        get: (target, key) => {
          if (key === "1") throw new Error("not now")
          return Reflect.get(target, key)
        }
      })
      yield* service.submitMany(list)
      yield* Effect.exit(service.submitMany([{ id: "item.2", content: "x" }, throwing("state")]))
      for (const id of ["item.0", "item.2"]) {
        const inserted = yield* service.getOrInsertWith(id, Effect.succeed({ content: "made" }))
        expect(textOf(inserted)).toBe("x")
        const receipt = yield* service.submit({ id, content: "set" }, { expectedVersion: inserted.version })
        expect(receipt.previousVersion).toBe(inserted.version)
        expect(Option.isSome(yield* service.setState(id, "done"))).toBe(true)
      }
      expect(yield* service.countPrefix("item")).toBe(2)
    })
  )

  it.scoped("in the options or among ids is the caller's fault too", () =>
    Effect.gen(function* () {
      const { service } = yield* start()
      const options = Object.defineProperty({}, "durability", {
        get: () => {
          throw new Error("not now")
        }
      })
      for (const write of [
        service.submit({ id: "a", content: "1" }, options),
        service.submitMany([{ id: "a", content: "1" }], options),
        service.delete("a", options),
        service.deleteMany(["a"], options),
        service.submit({ id: "a", content: "1" }, { sql: false, ttl: "soon" as never })
      ]) {
        expect(yield* Effect.flip(write as Effect.Effect<unknown, { readonly _tag: string }>)).toMatchObject({
          _tag: expect.stringMatching(/^(InvalidRequest|NotSupported)$/)
        })
      }
      yield* service.submit({ id: "b", content: "1" })
      const ids = Object.defineProperty(["b", "b"], "0", {
        get: () => {
          throw new Error("not now")
        }
      })
      expect((yield* service.deleteMany(ids)).map(({ _tag }) => _tag)).toEqual(["Rejected", "Acknowledged"])
    })
  )

  it.scoped(
    "in what an insertion makes, in its options or in those of a state is the caller's fault too",
    () =>
      Effect.gen(function* () {
        const { service } = yield* start()
        for (const field of ["content", "version", "state", "contentType", "traceparent"] as const) {
          const made = service.getOrInsertWith("a", Effect.succeed(throwing(field)))
          expect(yield* Effect.flip(made)).toMatchObject({ _tag: "InvalidItem", id: "a", field: "item" })
        }
        yield* service.submit({ id: "b", content: "1" })
        for (const name of ["durability", "expectedVersion"]) {
          const options = Object.defineProperty({}, name, {
            get: () => {
              throw new Error("not now")
            }
          })
          const inserted = service.getOrInsertWith("a", Effect.succeed({ content: "1" }), options)
          expect(yield* Effect.flip(inserted)).toMatchObject({ _tag: "InvalidRequest", argument: "options" })
          expect(yield* Effect.flip(service.setState("b", "s", options))).toMatchObject({
            _tag: "InvalidRequest",
            argument: "options"
          })
        }
        expect(textOf(yield* service.getOrInsertWith("a", Effect.succeed({ content: "2" })))).toBe("2")
      })
  )

  it.scoped("an item that says something else the second time is taken at its first word", () =>
    Effect.gen(function* () {
      const { service } = yield* start()
      let asked = 0
      const item = Object.defineProperty({ id: "a", content: "x" }, "state", {
        get: () => (++asked === 1 ? "fine" : "\u0000")
      })
      yield* service.submit(item)
      expect(Option.getOrThrow(yield* service.get("a")).state).toBe("fine")
    })
  )
})

describe("an exception inside", () => {
  it.scoped("before the log has a batch: none of it is waited for", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { live, service } = yield* start({ archive: archive.options })
      const { unsafeGet } = live
      const config = unsafeGet()
      let broken = true
      // The third item's size limit cannot be read.
      let reads = 0
      yield* service.submit({ id: "other", content: "1" })
      Object.defineProperty(config, "maxPayloadBytes", {
        get: () => {
          reads++
          if (broken && reads === 3) throw new Error("broken")
          return 1024
        }
      })
      expect(Exit.isFailure(yield* Effect.exit(service.submitMany(items(4))))).toBe(true)
      broken = false
      for (const id of ["item.0", "item.1"]) {
        expect(textOf(yield* service.getOrInsertWith(id, Effect.succeed({ content: "made" })))).toBe("made")
        expect((yield* service.submit({ id: `${id}.b`, content: "1" }, { expectedVersion: 0 })).id).toBe(
          `${id}.b`
        )
      }
    })
  )
})

describe("contents that are none", () => {
  it.scoped("a lone surrogate is refused, not stored as another character", () =>
    Effect.gen(function* () {
      const { service } = yield* start()
      for (const text of ["\ud800", "a\udfffb", '{"a":"\udc00"}', `${"x".repeat(5000)}\ud83d`]) {
        expect(yield* Effect.flip(service.submit({ id: "a", content: text }))).toMatchObject({
          _tag: "InvalidItem",
          field: "content"
        })
        const half = text.replace(/[^\ud800-\udfff]/g, "")
        const results = yield* service.submitMany([
          { id: "a", content: text },
          { id: "a", content: "x", state: half },
          { id: `a.${half}`, content: "x" },
          { id: "fine", content: "😀" }
        ])
        expect(results.map((result) => (result._tag === "Rejected" ? result.error._tag : "written"))).toEqual(
          ["InvalidItem", "InvalidItem", "InvalidItem", "written"]
        )
        const made = yield* Effect.flip(service.getOrInsertWith("a", Effect.succeed({ content: text })))
        expect(made).toMatchObject({ _tag: "InvalidItem", field: "content" })
      }
      expect(textOf(Option.getOrThrow(yield* service.get("fine")))).toBe("😀")
      expect(yield* service.contains("a")).toBe(false)
    })
  )

  it.scoped("a buffer that is gone is the caller's fault, and the rest of the batch is written", () =>
    Effect.gen(function* () {
      const { service } = yield* start()
      for (const content of [detached(), shrunk()]) {
        expect(yield* Effect.flip(service.submit({ id: "a", content }))).toMatchObject({
          _tag: "InvalidItem",
          field: "content"
        })
        const results = yield* service.submitMany([
          { id: "b", content: new Uint8Array(0) },
          { id: "a", content },
          { id: "c", content: "1" }
        ])
        expect(results.map(({ _tag }) => _tag)).toEqual(["Acknowledged", "Rejected", "Acknowledged"])
      }
      expect(Option.getOrThrow(yield* service.get("b")).content).toHaveLength(0)
    })
  )
})

describe("bytes that the caller goes on writing to", () => {
  it.scoped("are stored as they were when they were handed in, small and large", () =>
    Effect.gen(function* () {
      const { service } = yield* start({ config: { batchFlushInterval: 3_600_000 } })
      for (const size of [10, 3_000_000]) {
        const content = new Uint8Array(size).fill(1)
        const submitting = yield* Effect.fork(
          service.submit({ id: `a${size}`, content, contentType: "binary" })
        )
        yield* Effect.yieldNow()
        content.fill(2)
        const receipt = yield* Fiber.join(submitting)
        content.fill(3)
        yield* service.flush
        const stored = Option.getOrThrow(yield* service.get(`a${size}`))
        expect(stored.content[size - 1]).toBe(1)
        expect(contentHashOf(stored.content)).toBe(receipt.contentHash)
      }
    })
  )
})
