/** What follows from reads and writes of single items: verified reads, states, bulk deletes. */
import { Effect, Exit, Option } from "effect"
import type { ScanRange } from "../../archive/Archive.js"
import type { ReadError, WriteError } from "../../EngineError.js"
import { CorruptItem, InvalidItem, InvalidRequest, VersionMismatch } from "../../EngineError.js"
import type { Receipt } from "../../SyncEngineModels.js"
import type { ItemHead, ItemRecord, SyncItem } from "../../SyncItem.js"
import { idProblem, isAtLeast, prefixProblem, sameHead, stateProblem } from "../../SyncItem.js"
import { nameOf } from "../../shared/NameOf.js"
import { hashOf } from "../../shared/Pieces.js"
import type { PointReads } from "../read/PointReads.js"
import { archiveUnavailable } from "../state/ArchiveUnavailable.js"
import type { EngineState } from "../state/EngineState.js"
import { newestOf } from "../state/EngineState.js"
import { settledMeanwhile, touchedMeanwhile } from "../state/Watching.js"
import { type WriteOperations, withOptions } from "../write/WriteOperations.js"
import * as GetOrInsert from "./GetOrInsert.js"
import type { Pages } from "./Pages.js"
import type { QueryApi } from "./QueryApi.js"

export type ItemQueries = Pick<
  QueryApi,
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

export const make = (
  core: EngineState,
  reads: PointReads,
  writes: WriteOperations,
  pages: Pages
): ItemQueries => {
  const gated = <A, E, R>(id: string, body: Effect.Effect<A, E, R>): Effect.Effect<A, E | ReadError, R> =>
    Effect.suspend((): Effect.Effect<A, E | ReadError, R> => {
      const gate = core.queryGate()
      if (gate !== undefined) return Effect.fail(gate)
      const problem = idProblem(id)
      return problem === undefined
        ? body
        : Effect.fail(new InvalidItem({ id: nameOf(id), field: "id", problem }))
    })

  /** The newest version that log or archive know, asking the archive unless the pending write is known to be that. */
  const newestHead = (id: string, operation: string): Effect.Effect<ItemHead | undefined, ReadError> =>
    Effect.suspend((): Effect.Effect<ItemHead | undefined, ReadError> => {
      const sole = core.soleWriter()
      const pending = core.pending.get(id)
      if (sole && pending?.unchecked === false) return Effect.succeed(pending)
      const archive = core.tiers?.archive
      if (archive === undefined) return Effect.map(reads.fetch([id]), (records) => records.get(id))
      return touchedMeanwhile(core, [id], (watches) =>
        Effect.flatMap(Effect.mapError(archive.heads([id]), archiveUnavailable(operation)), ([stored]) => {
          const now = core.pending.get(id)
          // Archived while the archive was asked: its answer may be from before.
          const missed = now === undefined && (pending !== undefined || watches.get(id)!.dirty)
          return missed ? newestHead(id, operation) : Effect.succeed(newestOf(stored, now))
        })
      )
    })

  /** As `newestHead`; a pending write is known also while the archive cannot be asked, if it has been compared with it. */
  const knownHead = (id: string): Effect.Effect<ItemHead | undefined, ReadError> =>
    Effect.catchTag(newestHead(id, "status"), "TierUnavailable", (error) => {
      const pending = core.pending.get(id)
      return pending === undefined || pending.unchecked ? Effect.fail(error) : Effect.succeed(pending)
    })

  const corrupt = ({ content, contentHash, id, version }: ItemRecord) =>
    Effect.map(hashOf(content), (actualHash) =>
      actualHash === contentHash
        ? undefined
        : new CorruptItem({ id, version, expectedHash: contentHash, actualHash })
    )

  const getVerified: ItemQueries["getVerified"] = (id) =>
    gated(
      id,
      Effect.gen(function* () {
        const head = yield* newestHead(id, "getVerified")
        if (head === undefined || head.deleted) {
          if (core.pending.get(id) === undefined) core.memory.remove(id)
          return Option.none<SyncItem>()
        }
        const held = core.memory.peek(id)
        if (held !== undefined && isAtLeast(held, head) && (yield* corrupt(held)) === undefined) {
          return held.deleted ? Option.none<SyncItem>() : Option.some<SyncItem>(held)
        }
        // Memory is behind, or holds damaged bytes. The cache, though trusted, may be behind as well.
        core.memory.remove(id)
        const stored = (yield* reads.fetchStored([id])).get(id)
        if (stored === undefined || stored.deleted) return Option.none<SyncItem>()
        const damage = yield* corrupt(stored)
        if (damage === undefined) return Option.some<SyncItem>(stored)
        core.memory.remove(id)
        return yield* damage
      })
    )

  const headOf = (id: string) =>
    Effect.map(reads.fetchProven([id]), (records): ItemRecord | undefined => records.get(id))

  /** Deletes one page of a range. An item may leave the range until its own deletion is decided, and is left then. */
  const deletePage = (range: ScanRange, operation: string) =>
    settledMeanwhile(core, (settled) => {
      const limit = Math.min(core.limits.idsPerDelete, core.config().maxBatchItems)
      const left = (id: string): boolean => {
        const entry = core.pending.get(id) ?? settled.get(id)
        const newest = newestOf(
          core.inFlight.newest(id)?.record,
          entry?.unchecked === true ? undefined : entry
        )
        return newest !== undefined && (newest.deleted || !isIn(range, newest.state))
      }
      return Effect.gen(function* () {
        const { next, rows } = yield* pages.ids(range, limit, operation)
        let deleted = 0
        let open = rows
        while (open.length > 0) {
          // Another node's write may have given it another state; an id stays below its prefix.
          const results = yield* writes.deleteUnless(open, left, range.state !== undefined)
          const undecided: Array<string> = []
          for (const result of results) {
            if (result._tag === "Acknowledged") deleted++
            else if (result.error._tag === "VersionConflict") continue
            else if (!(result.error instanceof VersionMismatch)) return yield* result.error
            // What takes it out of the range may still fail.
            else if (core.inFlight.newest(result.id) !== undefined) undecided.push(result.id)
          }
          for (const id of undecided) yield* core.inFlight.landed(id)
          open = undecided
        }
        return { deleted, next }
      })
    })

  const bulkDelete = (range: ScanRange, operation: string): Effect.Effect<number, WriteError | ReadError> =>
    Effect.gen(function* () {
      let deleted = 0
      let after: string | undefined
      for (;;) {
        const gate = core.queryGate()
        if (gate !== undefined) return yield* gate
        const page = yield* deletePage({ ...range, after }, operation)
        deleted += page.deleted
        if (page.next === undefined) return deleted
        after = page.next
      }
    })

  return {
    getVerified,
    getOrInsertWith: GetOrInsert.make(core, reads, writes),
    contains: (id) => Effect.map(reads.get(id), Option.isSome),
    definitelyMissing: (id) =>
      gated(
        id,
        Effect.sync(() => core.provenAbsent(id))
      ),
    mightExist: (id) =>
      gated(
        id,
        Effect.sync(() => !core.provenAbsent(id))
      ),
    isCurrent: (id, version) =>
      gated(
        id,
        Effect.map(
          newestHead(id, "isCurrent"),
          (head) => head !== undefined && !head.deleted && head.version === version
        )
      ),
    status: (id) =>
      gated(
        id,
        Effect.map(knownHead(id), (found) => {
          const entry = core.pending.get(id)
          const pending = entry !== undefined && found !== undefined && sameHead(entry, found)
          return {
            id,
            state:
              found === undefined ? "absent" : found.deleted ? "deleted" : pending ? "pending" : "archived",
            version: found?.version,
            contentHash: found === undefined || found.deleted ? undefined : found.contentHash,
            inMemory: core.memory.peek(id)?.deleted === false,
            lostVersion: core.lostVersions.get(id)
          } as const
        })
      ),
    setState: (id, state, asked) =>
      gated(
        id,
        withOptions(asked, (options) =>
          Effect.gen(function* () {
            const problem = state === undefined ? undefined : stateProblem(state)
            if (problem !== undefined) return yield* new InvalidItem({ id, field: "state", problem })
            for (;;) {
              const record = yield* headOf(id)
              if (record === undefined || record.deleted) return Option.none<Receipt>()
              const expectedVersion = options.expectedVersion ?? record.version
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
                  { durability: options.durability, expectedVersion, expectedHash: record.contentHash }
                )
              )
              if (Exit.isSuccess(receipt)) return Option.some(receipt.value)
              const failure = receipt.cause._tag === "Fail" ? receipt.cause.error : undefined
              // The content changed between read and write: the state goes to the new content, once it can be read.
              if (!(failure instanceof VersionMismatch) || options.expectedVersion !== undefined)
                return yield* Effect.failCause(receipt.cause)
              yield* core.inFlight.landed(id)
            }
          })
        )
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

const isIn = (range: ScanRange, state: string | undefined): boolean =>
  range.state === undefined || range.state === state
