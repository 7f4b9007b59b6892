import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, FastCheck, Fiber, Stream } from "effect"
import { inPrefix } from "../../../src/archive/sql/Ranges.js"
import { compareBytes } from "../../../src/merkle/ByteOrder.js"
import type { SyncEngineApi } from "../../../src/SyncEngineApi.js"
import type { SyncItem } from "../../../src/SyncItem.js"
import { textOf } from "../../../src/SyncItem.js"
import { makeDisk } from "../../../src/wal/MemoryLog.js"
import { beside, items, PlayedArchive, settle, start } from "../support.js"

const shown = (found: Iterable<SyncItem>) => Array.from(found, (item) => `${item.id} ${textOf(item)}`)
const idsOf = (found: Iterable<SyncItem>) => Array.from(found, ({ id }) => id)

const collect = <E>(stream: Stream.Stream<SyncItem, E>) =>
  Effect.map(Stream.runCollect(stream), Chunk.toReadonlyArray)

/** An engine that flushes only when it is told, over an archive that answers scans late when it is told. */
const quiet = (limits: Parameters<typeof start>[0] = {}) =>
  Effect.gen(function* () {
    const archive = new PlayedArchive()
    const answers = { latch: Effect.unsafeMakeLatch(true) }
    const { after } = archive.options.hooks!
    const engine = yield* start({
      config: { batchFlushInterval: 3_600_000, batchFlushCount: 100_000 },
      ...limits,
      archive: {
        ...archive.options,
        hooks: {
          ...archive.options.hooks,
          after: (call) =>
            call.operation.startsWith("scan") ? answers.latch.await : (after?.(call) ?? Effect.void)
        }
      }
    })
    return { archive, answers, ...engine }
  })

const put = (service: SyncEngineApi, id: string, content = "x", state?: string) =>
  service.submit({ id, content, state })

describe("pages of what is pending", () => {
  it.scoped("are merged in order with the archive's rows, and nothing is flushed for them", () =>
    Effect.gen(function* () {
      const { archive, service } = yield* quiet({ limits: { streamPageItems: 2 } })
      for (const n of [1, 3, 5, 7]) yield* put(service, `a.${n}`, "old")
      yield* service.flush
      archive.calls.length = 0
      for (const n of [0, 2, 3, 4, 8]) yield* put(service, `a.${n}`, "new")
      yield* service.delete("a.5")
      yield* put(service, "early", "x").pipe(
        Effect.zipRight(service.submit({ id: "a.9", content: "new" }, { durability: "memory" }))
      )
      const all = ["a.0 new", "a.1 old", "a.2 new", "a.3 new", "a.4 new", "a.7 old", "a.8 new", "a.9 new"]
      expect(shown(yield* collect(service.scanPrefix("a")))).toEqual(all)
      expect(shown(yield* service.scanPage("a"))).toEqual(all)
      for (const limit of [1, 2, 3, 8, 9]) {
        expect(shown(yield* collect(service.scanPrefix("a", { limit })))).toEqual(all.slice(0, limit))
        const seen: Array<string> = []
        for (let after: string | undefined; ; ) {
          const page = yield* service.scanPage("a", { limit, after })
          if (page.length === 0) break
          expect(page.length).toBe(Math.min(limit, all.length - seen.length))
          seen.push(...shown(page))
          after = page[page.length - 1]!.id
        }
        expect(seen).toEqual(all)
      }
      expect(archive.commits).toEqual([])
    })
  )

  it.scoped("show them however long the archive's commit takes", () =>
    Effect.gen(function* () {
      const { archive, service } = yield* quiet()
      archive.hold("commit")
      yield* service.submitMany(items(3, "a."))
      yield* Effect.fork(service.flush)
      yield* settle
      expect(idsOf(yield* service.scanPage("a"))).toEqual(["a.0", "a.1", "a.2"])
      expect(yield* service.listStateIds("s")).toEqual([])
      archive.letGo("commit")
    })
  )

  it.scoped("what is archived between the archive's reading and its answer is neither lost nor undone", () =>
    Effect.gen(function* () {
      const { answers, archive, service } = yield* quiet()
      for (const id of ["a.1", "a.2", "a.3"]) yield* put(service, id, "old", "open")
      yield* service.flush
      yield* service.delete("a.1")
      yield* put(service, "a.2", "new", "closed")
      yield* put(service, "a.4", "new", "open")
      yield* answers.latch.close
      const page = yield* beside(service.scanPage("a"))
      const open = yield* beside(service.statePage("open"))
      const ids = yield* beside(service.listStateIds("closed"))
      // All three have been read; now the writes are archived, and only then the answers come.
      yield* service.flush
      expect(archive.live()).toEqual(["a.2", "a.3", "a.4"])
      yield* answers.latch.open
      yield* settle
      expect(shown(yield* Fiber.join(page))).toEqual(["a.2 new", "a.3 old", "a.4 new"])
      expect(shown(yield* Fiber.join(open))).toEqual(["a.3 old", "a.4 new"])
      expect(yield* Fiber.join(ids)).toEqual(["a.2"])
    })
  )

  it.scoped("a state that is pending counts, in both directions", () =>
    Effect.gen(function* () {
      const { service } = yield* quiet()
      yield* put(service, "a", "x", "open")
      yield* put(service, "b", "x", "closed")
      yield* service.flush
      yield* service.setState("a", "closed")
      yield* service.setState("b", "open")
      yield* put(service, "c", "x", "open")
      expect(idsOf(yield* collect(service.getByState("open")))).toEqual(["b", "c"])
      expect(yield* service.listStateIds("closed")).toEqual(["a"])
      expect(yield* service.listStateIds("open", { limit: 1 })).toEqual(["b"])
      expect(yield* service.listStateIds("open", { after: "b" })).toEqual(["c"])
    })
  )

  it.scoped("a version that nobody has compared yet loses against a newer one of the archive", () =>
    Effect.gen(function* () {
      const { archive, service } = yield* quiet()
      archive.put("a", 100, "theirs")
      archive.put("b", 100, "theirs", true)
      yield* archive.uncompared(service.submit({ id: "a", content: "mine", version: 50 }))
      yield* archive.uncompared(service.submit({ id: "b", content: "mine", version: 50 }))
      expect(shown(yield* service.scanPage(""))).toEqual(["a theirs"])
    })
  )

  it.scoped("what a restart finds in the log is among them", () =>
    Effect.gen(function* () {
      const disk = makeDisk()
      const archive = new PlayedArchive()
      archive.stumbles = (call) => call.operation === "commit"
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { service } = yield* start({ archive: archive.options, disk })
          yield* service.submitMany(items(5, "a."))
        })
      )
      archive.put("a.3", Number.MAX_SAFE_INTEGER - 1, "theirs")
      const { service } = yield* start({ archive: archive.options, disk })
      expect(archive.live()).toEqual(["a.3"])
      expect(shown(yield* service.scanPage("a"))).toEqual(["a.0 x", "a.1 x", "a.2 x", "a.3 theirs", "a.4 x"])
    })
  )

  it.scoped("contents that fill a page end it early, and the next page goes on behind it", () =>
    Effect.gen(function* () {
      const { service } = yield* quiet({ limits: { pageBytes: 1000 } })
      yield* service.submitMany([0, 1, 2, 3, 4, 5].map((n) => ({ id: `a.${n}`, content: "y".repeat(300) })))
      const seen: Array<string> = []
      for (let after: string | undefined; ; ) {
        const page = yield* service.scanPage("a", { after })
        if (page.length === 0) break
        expect(page.length).toBeLessThanOrEqual(3)
        seen.push(...idsOf(page))
        after = seen[seen.length - 1]
      }
      expect(seen).toEqual([0, 1, 2, 3, 4, 5].map((n) => `a.${n}`))
    })
  )

  it.scoped("deletions of a whole range that are pending cost no question each", () =>
    Effect.gen(function* () {
      const { archive, service } = yield* quiet()
      yield* service.submitMany(items(2000, "a."))
      yield* service.flush
      yield* service.deletePrefix("a")
      yield* put(service, "b")
      archive.calls.length = 0
      expect(idsOf(yield* service.scanPage("", { limit: 1000 }))).toEqual(["b"])
      expect(archive.seen("scan").length).toBeLessThan(5)
    })
  )

  const segment = FastCheck.constantFrom("a", "b", "a-b", "é", "\uffe5", "\u{1f600}", "B")
  const id = FastCheck.array(segment, { minLength: 1, maxLength: 3 }).map((parts) => parts.join("."))
  const state = FastCheck.constantFrom(undefined, "s", "t")
  const step = FastCheck.oneof(
    FastCheck.record({ put: id, state }),
    FastCheck.record({ delete: id }),
    FastCheck.constant("flush" as const)
  )

  it.effect.prop(
    "are those of a plain model, whatever is archived and whatever is pending",
    {
      steps: FastCheck.array(step, { maxLength: 40 }),
      prefix: FastCheck.oneof(FastCheck.constant(""), id),
      limit: FastCheck.integer({ min: 1, max: 4 }),
      pageBytes: FastCheck.constantFrom(2, 1000)
    },
    ({ limit, pageBytes, prefix, steps }) =>
      Effect.gen(function* () {
        const { service } = yield* quiet({ limits: { streamPageItems: limit, pageBytes } })
        const model = new Map<string, { readonly content: string; readonly state: string | undefined }>()
        for (const [number, one] of steps.entries()) {
          if (one === "flush") yield* service.flush
          else if ("put" in one) {
            yield* put(service, one.put, `${number}`, one.state)
            model.set(one.put, { content: `${number}`, state: one.state })
          } else {
            yield* service.delete(one.delete)
            model.delete(one.delete)
          }
          if (number % 7 === 0) yield* service.scanPage("", { limit: 1 })
        }
        const expected = (range: { readonly prefix?: string; readonly state?: string }) =>
          [...model]
            .filter(([key]) => inPrefix(key, range.prefix ?? ""))
            .filter(([, value]) => range.state === undefined || value.state === range.state)
            .sort(([a], [b]) => compareBytes(a, b))
            .map(([key, { content }]) => `${key} ${content}`)
        expect(shown(yield* collect(service.scanPrefix(prefix)))).toEqual(expected({ prefix }))
        expect(shown(yield* collect(service.getByState("s")))).toEqual(expected({ state: "s" }))
        const ids = expected({ state: "t" }).map((line) => line.split(" ")[0])
        expect(yield* service.listStateIds("t")).toEqual(ids)
        const seen: Array<string> = []
        for (let after: string | undefined; ; ) {
          const page = yield* service.listStateIds("t", { limit, after })
          if (page.length === 0) break
          expect(page.length).toBe(Math.min(limit, ids.length - seen.length))
          seen.push(...page)
          after = seen[seen.length - 1]
        }
        expect(seen).toEqual(ids)
      }).pipe(Effect.scoped),
    { fastCheck: { numRuns: 60 } }
  )
})
