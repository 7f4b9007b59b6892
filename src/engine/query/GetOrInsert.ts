/** Insert if absent: concurrent callers of one id share one `make`. And another state for the same content. */
import { Deferred, Effect, Exit, FiberId, FiberRef, Option } from "effect"
import type { ReadError, WriteError } from "../../EngineError.js"
import { InvalidItem, InvalidRequest, VersionMismatch } from "../../EngineError.js"
import type { Receipt, SubmitItem } from "../../SyncEngineModels.js"
import type { ItemRecord, SyncItem } from "../../SyncItem.js"
import { idProblem, stateProblem } from "../../SyncItem.js"
import type { PointReads } from "../read/PointReads.js"
import type { EngineState } from "../state/EngineState.js"
import type { WriteOperations } from "../write/WriteOperations.js"
import { withOptions } from "../write/WriteOperations.js"
import { readOnce } from "../write/WriteValidation.js"
import type { QueryApi } from "./QueryApi.js"
import { guardedById } from "./Requests.js"

/** An insertion under way. */
interface Insertion {
  readonly id: string
  readonly ended: Deferred.Deferred<void>
  /** The insertions that its `make` waits for. */
  readonly waits: Set<{ readonly on: Insertion }>
}

/** The insertions whose `make` a fiber, or one that it was forked from, is part of; the innermost last. */
const within = FiberRef.unsafeMake<ReadonlyArray<Insertion>>([])

/** Whether an insertion waits, itself or through others, for one of these. */
const waitsFor = (
  insertion: Insertion,
  these: ReadonlyArray<Insertion>,
  seen = new Set<Insertion>()
): boolean => {
  if (these.includes(insertion)) return true
  if (seen.has(insertion)) return false
  seen.add(insertion)
  for (const { on } of insertion.waits) if (waitsFor(on, these, seen)) return true
  return false
}

/**
 * Notes at once, so that nobody checks in between, that the innermost of these waits for an insertion while `body`
 * runs.
 */
const waiting = <A, E, R>(
  outer: ReadonlyArray<Insertion>,
  on: Insertion,
  body: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  const innermost = outer[outer.length - 1]
  if (innermost === undefined) return body
  const wait = { on }
  innermost.waits.add(wait)
  return Effect.ensuring(
    body,
    Effect.sync(() => innermost.waits.delete(wait))
  )
}

const circle = (id: string): InvalidRequest =>
  new InvalidRequest({
    argument: "make",
    problem: `asks for ${JSON.stringify(id)}, whose own make waits for this one: neither would ever end`
  })

type Options = Parameters<QueryApi["getOrInsertWith"]>[2]
type Make<E, R> = Effect.Effect<Omit<SubmitItem, "id">, E, R>
type Inserting<E, R> = Effect.Effect<SyncItem, E | ReadError | WriteError, R>

export const make = (
  core: EngineState,
  reads: PointReads,
  writes: WriteOperations
): QueryApi["getOrInsertWith"] => {
  const underWay = new Map<string, Insertion>()

  /** Memory says whether it is there only while nobody else writes. */
  const find = (id: string): Effect.Effect<Option.Option<SyncItem>, ReadError> =>
    Effect.suspend(() => {
      const refused = core.gate.query() !== undefined || idProblem(id) !== undefined
      if (refused || core.writer.isCertain()) return reads.get(id)
      return Effect.map(reads.fetchProven([id]), (records) => liveIn(records, id))
    })

  const getOrInsert = <E, R>(id: string, make: Make<E, R>, options: Options): Inserting<E, R> =>
    Effect.flatMap(FiberRef.get(within), (outer) => {
      // Whether one is under way and that this one is are one step, and from there on its end is told, come what may.
      const join = Effect.uninterruptibleMask((restore) =>
        Effect.suspend((): Inserting<E, R> => {
          const other = underWay.get(id)
          if (other !== undefined) {
            if (waitsFor(other, outer)) return circle(id)
            const ended = waiting(outer, other, restore(Deferred.await(other.ended)))
            return Effect.zipRight(ended, restore(again))
          }
          const own: Insertion = { id, ended: Deferred.unsafeMake(FiberId.none), waits: new Set() }
          underWay.set(id, own)
          const made = Effect.locally(make, within, [...outer, own])
          return Effect.ensuring(
            waiting(outer, own, restore(insert(core, reads, writes, id, made, options))),
            Effect.suspend(() => {
              underWay.delete(id)
              return Deferred.succeed(own.ended, undefined)
            })
          )
        })
      )
      const again: Inserting<E, R> = Effect.flatMap(find(id), (found) =>
        Option.isSome(found) ? Effect.succeed(found.value) : join
      )
      return again
    })

  return (id, make, asked) =>
    withOptions(asked, (options) =>
      options?.sql === false
        ? // Its insertion expects that nothing is there, which only the archive can say.
          new InvalidRequest({
            argument: "sql",
            problem:
              "must not be false: getOrInsertWith has to know that the id is absent, and no volatile item can be compared"
          })
        : getOrInsert(id, make, options)
    )
}

/** Makes the item and submits it as the first; where somebody else was faster, theirs is the item. */
const insert = Effect.fnUntraced(function* <E, R>(
  core: EngineState,
  reads: PointReads,
  writes: WriteOperations,
  id: string,
  make: Make<E, R>,
  options: Options
): Effect.fn.Return<SyncItem, E | ReadError | WriteError, R> {
  const made = yield* make
  const item = readOnce([made as SubmitItem], 0)
  if ("_tag" in item) return yield* new InvalidItem({ ...item, id })
  for (;;) {
    const receipt = yield* Effect.exit(writes.submit({ ...item, id }, { ...options, expectedVersion: 0 }))
    if (Exit.isSuccess(receipt)) {
      const own = liveIn(yield* reads.fetch([id]), id)
      if (Option.isSome(own)) return own.value
      return yield* new VersionMismatch({ id, expected: receipt.value.version, actual: 0 })
    }
    const failure = receipt.cause._tag === "Fail" ? receipt.cause.error : undefined
    if (!(failure instanceof VersionMismatch)) return yield* Effect.failCause(receipt.cause)
    // Somebody else inserted it meanwhile: theirs is the item, once it can be read, unless it is gone again.
    yield* core.inFlight.landed(id)
    const theirs = liveIn(yield* reads.fetchProven([id]), id)
    if (Option.isSome(theirs)) return theirs.value
  }
})

const liveIn = (records: ReadonlyMap<string, ItemRecord>, id: string): Option.Option<SyncItem> =>
  Option.filter(Option.fromNullable(records.get(id)), ({ deleted }) => !deleted)

/** Another state for the same content. */
export const setState =
  (core: EngineState, reads: PointReads, writes: WriteOperations): QueryApi["setState"] =>
  (id, state, asked) =>
    guardedById(
      core,
      id,
      withOptions(
        asked,
        Effect.fnUntraced(function* ({ durability, expectedVersion: expected }) {
          const problem = state === undefined ? undefined : stateProblem(state)
          if (problem !== undefined) return yield* new InvalidItem({ id, field: "state", problem })
          for (;;) {
            const record = (yield* reads.fetchProven([id])).get(id)
            if (record === undefined || record.deleted) return Option.none<Receipt>()
            const { content, contentHash: expectedHash, contentType, traceparent, version } = record
            const expectedVersion = expected ?? version
            // Not left to the write alone: a deletion on its way must not pass for the absence that was expected.
            if (expectedVersion !== version) {
              return yield* new VersionMismatch({ id, expected: expectedVersion, actual: version })
            }
            const receipt = yield* Effect.exit(
              writes.submit(
                { id, content, contentType, state, traceparent },
                { durability, expectedVersion, expectedHash }
              )
            )
            if (Exit.isSuccess(receipt)) return Option.some(receipt.value)
            const failure = receipt.cause._tag === "Fail" ? receipt.cause.error : undefined
            // The content changed between read and write: the state goes to the new content, once it can be read.
            if (!(failure instanceof VersionMismatch) || expected !== undefined)
              return yield* Effect.failCause(receipt.cause)
            yield* core.inFlight.landed(id)
          }
        })
      )
    )
