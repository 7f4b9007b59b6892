/**
 * What follows from reads and writes of single items: verified reads, insert if absent, states, bulk deletes.
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { ScanRange } from "../archive/Archive.js"
import type { ReadError, WriteError } from "../EngineError.js"
import { CorruptItem, InvalidItem, InvalidRequest, VersionMismatch } from "../EngineError.js"
import type { ItemHead, ItemRecord, SyncItem } from "../SyncItem.js"
import { compareVersions, contentHashOf, idProblem, prefixProblem, stateProblem } from "../SyncItem.js"
import type { EngineCore } from "./EngineCore.js"
import type { Receipt, SubmitItem, SyncEngineService } from "./EngineService.js"
import type { Pages } from "./Pages.js"
import { nameOf } from "./Preparation.js"
import type { Reads } from "./Reads.js"
import { archiveUnavailable } from "./Reads.js"
import type { Writes } from "./Writes.js"

/** @since 0.1.0 @category models */
export type Items = Pick<
  SyncEngineService,
  | "getVerified"
  | "getOrInsertWith"
  | "contains"
  | "definitelyMissing"
  | "mightExist"
  | "isCurrent"
  | "status"
  | "setState"
  | "deleteByState"
  | "deletePrefix"
>

/** @since 0.1.0 @category constructors */
export const make = (core: EngineCore, reads: Reads, writes: Writes, pages: Pages): Items => {
  const gated = <A, E, R>(id: string, body: Effect.Effect<A, E, R>): Effect.Effect<A, E | ReadError, R> =>
    Effect.suspend((): Effect.Effect<A, E | ReadError, R> => {
      const gate = core.queryGate()
      if (gate !== undefined) return Effect.fail(gate)
      const problem = idProblem(id)
      return problem === undefined
        ? body
        : Effect.fail(new InvalidItem({ id: nameOf(id), field: "id", problem }))
    })

  /** The newest version that log or archive know, asking the archive unless the write is pending. */
  const newestHead = (id: string, operation: string): Effect.Effect<Option.Option<ItemHead>, ReadError> =>
    Effect.suspend((): Effect.Effect<Option.Option<ItemHead>, ReadError> => {
      const pending = core.pending.get(id)
      if (pending !== undefined && !pending.unchecked) return Effect.succeed(Option.some(pending))
      const archive = core.tiers?.archive
      if (archive === undefined)
        return Effect.map(reads.fetch([id]), (records) => Option.fromNullable(records.get(id)))
      return Effect.flatMap(
        Effect.mapError(archive.heads([id]), archiveUnavailable(operation)),
        ([stored]) => {
          const now = core.pending.get(id)
          if (now !== undefined) {
            return Effect.succeedSome(
              stored === undefined || compareVersions(now, stored) >= 0 ? now : stored
            )
          }
          // Archived while the archive was asked: its answer may be from before.
          return pending === undefined
            ? Effect.succeed(Option.fromNullable(stored))
            : newestHead(id, operation)
        }
      )
    })

  const corrupt = (record: ItemRecord): CorruptItem | undefined => {
    const actualHash = contentHashOf(record.content)
    return actualHash === record.contentHash
      ? undefined
      : new CorruptItem({
          id: record.id,
          version: record.version,
          expectedHash: record.contentHash,
          actualHash
        })
  }

  const getVerified: Items["getVerified"] = (id) =>
    gated(
      id,
      Effect.gen(function* () {
        const head = yield* newestHead(id, "getVerified")
        if (Option.isNone(head) || head.value.deleted) {
          if (core.pending.get(id) === undefined) core.memory.remove(id)
          return Option.none<SyncItem>()
        }
        const held = (yield* reads.fetch([id])).get(id)
        if (held !== undefined && compareVersions(held, head.value) >= 0 && corrupt(held) === undefined) {
          return held.deleted ? Option.none<SyncItem>() : Option.some<SyncItem>(held)
        }
        // Memory is behind, or holds damaged bytes: ask the tiers below once more.
        core.memory.remove(id)
        const again = (yield* reads.fetch([id])).get(id)
        if (again === undefined || again.deleted) return Option.none<SyncItem>()
        const damage = corrupt(again)
        if (damage === undefined) return Option.some<SyncItem>(again)
        core.memory.remove(id)
        return yield* damage
      })
    )

  const headOf = (id: string) =>
    Effect.map(reads.fetch([id]), (records): ItemRecord | undefined => records.get(id))

  const landed = (id: string) =>
    Effect.async<void>((resume) => core.inFlight.whenLanded(id, () => resume(Effect.void)))

  // Ids whose `make` is under way: later callers wait for its end and then look again.
  const inserting = new Map<string, Deferred.Deferred<void>>()

  const insert = <E, R>(
    id: string,
    make: Effect.Effect<Omit<SubmitItem, "id">, E, R>,
    options: Parameters<Items["getOrInsertWith"]>[2]
  ): Effect.Effect<SyncItem, E | ReadError | WriteError, R> =>
    Effect.gen(function* () {
      const made = yield* make
      const receipt = yield* Effect.exit(writes.submit({ ...made, id }, { ...options, expectedVersion: 0 }))
      if (Exit.isFailure(receipt)) {
        const failure = receipt.cause._tag === "Fail" ? receipt.cause.error : undefined
        // Somebody else inserted it meanwhile: theirs is the item, once it can be read.
        if (!(failure instanceof VersionMismatch)) return yield* Effect.failCause(receipt.cause)
        yield* landed(id)
      }
      const record = (yield* reads.fetch([id])).get(id)
      if (record !== undefined && !record.deleted) return record
      return yield* new VersionMismatch({ id, expected: 0, actual: 0 })
    })

  const getOrInsertWith: Items["getOrInsertWith"] = (id, make, options) =>
    Effect.flatMap(reads.get(id), (found) => {
      if (Option.isSome(found)) return Effect.succeed(found.value)
      const underWay = inserting.get(id)
      if (underWay !== undefined) {
        return Effect.zipRight(Deferred.await(underWay), getOrInsertWith(id, make, options))
      }
      return Effect.flatMap(Deferred.make<void>(), (ended) => {
        if (inserting.has(id)) return getOrInsertWith(id, make, options)
        inserting.set(id, ended)
        return Effect.ensuring(
          insert(id, make, options),
          Effect.suspend(() => {
            inserting.delete(id)
            return Deferred.succeed(ended, undefined)
          })
        )
      })
    })

  const bulkDelete = (range: ScanRange, operation: string): Effect.Effect<number, WriteError | ReadError> =>
    Effect.gen(function* () {
      let deleted = 0
      let after: string | undefined
      for (;;) {
        const gate = core.queryGate()
        if (gate !== undefined) return yield* gate
        const limit = Math.min(core.limits.idsPerDelete, core.config().maxBatchItems)
        const { next, rows } = yield* pages.ids({ ...range, after }, limit, operation)
        const results = rows.length === 0 ? [] : yield* writes.deleteMany(rows)
        for (const result of results) {
          if (result._tag === "Rejected") return yield* result.error
          deleted++
        }
        if (next === undefined) return deleted
        after = next
      }
    })

  return {
    getVerified,
    getOrInsertWith,
    contains: (id) => Effect.map(reads.get(id), Option.isSome),
    definitelyMissing: (id) =>
      gated(
        id,
        Effect.sync(() => core.filter?.definitelyMissing(id) === true)
      ),
    mightExist: (id) =>
      gated(
        id,
        Effect.sync(() => core.filter?.definitelyMissing(id) !== true)
      ),
    isCurrent: (id, version) =>
      gated(
        id,
        Effect.map(
          newestHead(id, "isCurrent"),
          (head) => Option.isSome(head) && !head.value.deleted && head.value.version === version
        )
      ),
    status: (id) =>
      gated(
        id,
        Effect.map(newestHead(id, "status"), (head) => {
          const pending = core.pending.get(id) !== undefined
          const found = Option.getOrUndefined(head)
          return {
            id,
            state:
              found === undefined ? "absent" : found.deleted ? "deleted" : pending ? "pending" : "archived",
            version: found?.version,
            contentHash: found === undefined || found.deleted ? undefined : found.contentHash,
            inMemory: core.memory.peek(id)?.deleted === false
          } as const
        })
      ),
    setState: (id, state, options) =>
      gated(
        id,
        Effect.gen(function* () {
          const problem = state === undefined ? undefined : stateProblem(state)
          if (problem !== undefined) return yield* new InvalidItem({ id, field: "state", problem })
          for (;;) {
            const record = yield* headOf(id)
            if (record === undefined || record.deleted) return Option.none<Receipt>()
            const expectedVersion = options?.expectedVersion ?? record.version
            // Not left to the write alone: a deletion on its way must not pass for the absence that was expected.
            if (expectedVersion !== record.version) {
              return yield* new VersionMismatch({ id, expected: expectedVersion, actual: record.version })
            }
            const receipt = yield* Effect.exit(
              writes.submit(
                {
                  id,
                  content: record.content,
                  contentType: record.contentType,
                  state,
                  traceparent: record.traceparent
                },
                { durability: options?.durability, expectedVersion, expectedHash: record.contentHash }
              )
            )
            if (Exit.isSuccess(receipt)) return Option.some(receipt.value)
            const failure = receipt.cause._tag === "Fail" ? receipt.cause.error : undefined
            // The content changed between read and write: the state goes to the new content, once it can be read.
            if (!(failure instanceof VersionMismatch) || options?.expectedVersion !== undefined)
              return yield* Effect.failCause(receipt.cause)
            yield* landed(id)
          }
        })
      ),
    deleteByState: (state) => {
      const problem = stateProblem(state)
      return problem === undefined
        ? bulkDelete({ prefix: "", state }, "deleteByState")
        : Effect.fail(new InvalidRequest({ argument: "state", problem }))
    },
    deletePrefix: (prefix) => {
      const problem =
        prefix === ""
          ? "is empty; deleting everything has to be asked for by prefixes"
          : prefixProblem(prefix)
      return problem === undefined
        ? bulkDelete({ prefix }, "deletePrefix")
        : Effect.fail(new InvalidRequest({ argument: "prefix", problem }))
    }
  }
}
