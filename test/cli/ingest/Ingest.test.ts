import { expect, it } from "@effect/vitest"
import { Effect, Either, Fiber, Stream, TestClock } from "effect"
import { describe } from "vitest"
import { type CliError, failed } from "../../../src/cli/app/CliError.js"
import type { Backend, BackendError } from "../../../src/cli/backend/Backend.js"
import { Ingest, type IngestOptions } from "../../../src/cli/ingest/Ingest.js"
import {
  Backpressure,
  GateClosed,
  InvalidItem,
  LogFull,
  NotSupported,
  type WriteError
} from "../../../src/EngineError.js"
import type { BatchItem } from "../../../src/http/client/HttpClient.js"
import type { SubmitResult } from "../../../src/SyncEngine.js"
import { treeSource } from "../../reconcile/treeSource.js"

const full = new LogFull({ items: 9, bytes: 9, maxItems: 9, maxBytes: 9, retryAfterMs: 1_000 })
const pressure = new Backpressure({ level: "Critical", pressure: 0.9, retryAfterMs: 500 })
const closed = new GateClosed({ operation: "write", phase: "draining", retryAfterMs: 1_000 })

const acknowledged = ({ item }: BatchItem): SubmitResult => ({
  _tag: "Acknowledged",
  receipt: {
    id: item.id,
    version: 1,
    contentHash: "",
    durability: "wal",
    previousVersion: undefined,
    compared: true
  }
})

const rejected = ({ item }: BatchItem, error: WriteError): SubmitResult => ({
  _tag: "Rejected",
  id: item.id,
  error
})

type Answer = (
  items: ReadonlyArray<BatchItem>,
  call: number
) => Either.Either<ReadonlyArray<SubmitResult>, BackendError>

const defaults: IngestOptions = {
  durability: undefined,
  batchItems: 3,
  batchBytes: 1_000_000,
  maxLineBytes: 200,
  patienceMs: 10_000
}

const setUp = (answer: Answer, options: Partial<IngestOptions> = {}) => {
  const calls: Array<ReadonlyArray<string>> = []
  const bad: Array<readonly [number, string]> = []
  const waits: Array<string> = []
  const unused = Effect.dieMessage("not used here")
  const backend: Backend = {
    where: "here",
    submitMany: (items) =>
      Effect.suspend(() => {
        calls.push(items.map(({ item }) => item.id))
        return answer(items, calls.length)
      }),
    submit: () => unused,
    get: () => unused,
    delete: () => unused,
    scan: () => Stream.empty,
    status: unused,
    verify: () => unused,
    repair: () => unused,
    merkleSource: treeSource([]),
    flush: unused,
    root: unused,
    drain: unused,
    shutdown: unused,
    deadLetters: { list: Stream.empty, retry: () => unused, drop: () => unused }
  }
  const ingest = new Ingest(
    backend,
    { ...defaults, ...options },
    {
      badLine: (number, problem) => bad.push([number, problem]),
      progress: (_, waiting) => {
        if (waiting !== undefined) waits.push(waiting)
      }
    }
  )
  const run = (input: Stream.Stream<Uint8Array, CliError>) => ingest.run(input)
  return { run, counts: () => ingest.counts, calls, bad, waits }
}

const lines = (...ids: ReadonlyArray<string>) =>
  Stream.make(Buffer.from(ids.map((id) => `{"id":"${id}","content":1}\n`).join("")))

const everything: Answer = (items) => Either.right(items.map(acknowledged))

describe("ingest", () => {
  it.effect("submits full batches in the input's order, and what is left", () =>
    Effect.gen(function* () {
      const work = setUp(everything)
      yield* work.run(lines("a", "b", "c", "d", "e", "f", "g"))
      expect(work.calls).toEqual([["a", "b", "c"], ["d", "e", "f"], ["g"]])
      expect(work.counts()).toMatchObject({ items: 7, acknowledged: 7, rejected: 0 })
    })
  )

  it.effect("sends a batch early when its bytes are enough", () =>
    Effect.gen(function* () {
      const work = setUp(everything, { batchBytes: 2 })
      yield* work.run(lines("a", "b", "c", "d"))
      expect(work.calls).toEqual([
        ["a", "b"],
        ["c", "d"]
      ])
    })
  )

  it.effect("reports bad lines with their numbers and goes on", () =>
    Effect.gen(function* () {
      const work = setUp(everything)
      const text = `\ufeff{"id":"a","content":1}\r\n\r\nnope\n{"id":"${"x".repeat(300)}"}\n \t\n{"id":"b","content":2}`
      yield* work.run(Stream.make(Buffer.from(text)))
      expect(work.calls).toEqual([["a", "b"]])
      expect(work.bad.map(([number]) => number)).toEqual([3, 4])
      expect(work.bad[1]?.[1]).toBe("is too long: 309 bytes, at most 200 are read")
      expect(work.counts()).toMatchObject({ items: 4, acknowledged: 2, rejected: 2 })
    })
  )

  it.effect("reports what the engine rejects with the line's number", () =>
    Effect.gen(function* () {
      const refused = new InvalidItem({ id: "b", field: "state", problem: "is odd" })
      const work = setUp((items) =>
        Either.right(
          items.map((entry) => (entry.item.id === "b" ? rejected(entry, refused) : acknowledged(entry)))
        )
      )
      yield* work.run(lines("a", "b", "c"))
      expect(work.bad).toEqual([[2, 'item "b": state is odd']])
      expect(work.counts()).toMatchObject({ items: 3, acknowledged: 2, rejected: 1 })
    })
  )

  it.effect("waits as long as the hint says while the log is full, and goes on", () =>
    Effect.gen(function* () {
      const work = setUp((items, call) => (call <= 2 ? Either.left(full) : everything(items, call)))
      const fiber = yield* Effect.fork(work.run(lines("a", "b")))
      yield* TestClock.adjust("999 millis")
      expect(work.calls.length).toBe(1)
      yield* TestClock.adjust("1001 millis")
      yield* Fiber.join(fiber)
      expect(work.calls).toEqual([
        ["a", "b"],
        ["a", "b"],
        ["a", "b"]
      ])
      expect(work.waits[0]).toMatch(/^waiting: the log holds/)
      expect(work.counts()).toMatchObject({ acknowledged: 2, rejected: 0 })
    })
  )

  it.effect("tries again only what was not taken", () =>
    Effect.gen(function* () {
      const work = setUp((items, call) =>
        call === 1
          ? Either.right(
              items.map((entry, index) => (index === 0 ? acknowledged(entry) : rejected(entry, pressure)))
            )
          : everything(items, call)
      )
      const fiber = yield* Effect.fork(work.run(lines("a", "b", "c")))
      yield* TestClock.adjust("500 millis")
      yield* Fiber.join(fiber)
      expect(work.calls).toEqual([
        ["a", "b", "c"],
        ["b", "c"]
      ])
      expect(work.counts()).toMatchObject({ acknowledged: 3, rejected: 0 })
    })
  )

  it.effect("never puts an earlier line of an id behind a later one that was taken", () =>
    Effect.gen(function* () {
      const work = setUp((items, call) =>
        call === 1
          ? Either.right(
              items.map((entry, index) => (index === 0 ? rejected(entry, pressure) : acknowledged(entry)))
            )
          : everything(items, call)
      )
      yield* work.run(lines("same", "same"))
      expect(work.calls.length).toBe(1)
      expect(work.counts()).toMatchObject({ acknowledged: 1, rejected: 1 })
    })
  )

  it.effect("gives up when the patience is over, with the line where it stopped", () =>
    Effect.gen(function* () {
      const work = setUp((items, call) => (call === 1 ? everything(items, call) : Either.left(full)))
      const fiber = yield* Effect.fork(Effect.flip(work.run(lines("a", "b", "c", "d"))))
      yield* TestClock.adjust("9 seconds")
      expect(fiber.unsafePoll()).toBe(null)
      yield* TestClock.adjust("2 seconds")
      const error = yield* Fiber.join(fiber)
      expect(error.message).toMatch(/^stopped at line 4: the log holds/)
      expect(work.counts()).toMatchObject({ acknowledged: 3, rejected: 0 })
    })
  )

  it.effect("stops at once when the engine takes no writes any more", () =>
    Effect.gen(function* () {
      const work = setUp(() => Either.left(closed))
      const error = yield* Effect.flip(work.run(lines("a")))
      expect(error.message).toBe("stopped at line 1: no writes while draining")
      expect(work.calls.length).toBe(1)
    })
  )

  it.effect("gives items with a time to live calls of their own; a refusal is about their lines", () =>
    Effect.gen(function* () {
      const unsupported = new NotSupported({ operation: "submit with ttl", problem: "no cache" })
      const seconds: Array<number | undefined> = []
      const work = setUp((items, call) => {
        seconds.push(...items.map(({ ttlSeconds }) => ttlSeconds))
        return items[0]?.ttlSeconds === undefined ? everything(items, call) : Either.left(unsupported)
      })
      yield* work.run(
        Stream.make(
          Buffer.from('{"id":"a","content":1}\n{"id":"b","content":1,"ttlSeconds":5}\n{"id":"c","content":1}')
        )
      )
      expect(work.calls).toEqual([["a"], ["b"], ["c"]])
      expect(seconds).toEqual([undefined, 5, undefined])
      expect(work.bad).toEqual([[2, "submit with ttl: no cache"]])
      expect(work.counts()).toMatchObject({ items: 3, acknowledged: 2, rejected: 1 })
    })
  )

  it.effect("fails when the input breaks off, after what came before", () =>
    Effect.gen(function* () {
      const work = setUp(everything)
      const input = Stream.concat(lines("a", "b", "c"), Stream.fail(failed("the disk is gone")))
      expect((yield* Effect.flip(work.run(input))).message).toBe("the disk is gone")
      expect(work.calls).toEqual([["a", "b", "c"]])
    })
  )

  it.effect("holds at most two batches, however long the input is", () =>
    Effect.gen(function* () {
      let taken = 0
      let most = 0
      const work = setUp((items) => {
        taken += items.length
        return Either.right(items.map(acknowledged))
      })
      const input = Stream.range(0, 199).pipe(
        Stream.rechunk(1),
        Stream.map((index) => {
          most = Math.max(most, index - taken)
          return Buffer.from(`{"id":"n${index}","content":1}\n`)
        })
      )
      yield* work.run(input)
      expect(work.counts()).toMatchObject({ items: 200, acknowledged: 200 })
      expect(most).toBeLessThanOrEqual(2 * defaults.batchItems)
    })
  )
})
