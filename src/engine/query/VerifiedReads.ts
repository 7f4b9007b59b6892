/** Questions about single items that need the newest version known, or nothing but the filter. */
import { Effect, Option } from "effect"
import type { ReadError } from "../../EngineError.js"
import { CorruptItem } from "../../EngineError.js"
import type { ItemHead, ItemRecord, SyncItem } from "../../SyncItem.js"
import { isAtLeast, sameHead } from "../../SyncItem.js"
import { hashOf } from "../../shared/Pieces.js"
import type { PointReads } from "../read/PointReads.js"
import { archiveUnavailable } from "../state/Conditions.js"
import type { EngineState } from "../state/EngineState.js"
import { newestOf } from "../state/KnownVersions.js"
import { touchedMeanwhile } from "../state/Watching.js"
import type { QueryApi } from "./QueryApi.js"
import { guardedById } from "./Requests.js"

type VerifiedReads = Pick<
  QueryApi,
  "getVerified" | "contains" | "definitelyMissing" | "mightExist" | "isCurrent" | "status"
>

export const make = (core: EngineState, reads: PointReads): VerifiedReads => ({
  getVerified: (id) => guardedById(core, id, verified(core, reads, id)),
  contains: (id) => Effect.map(reads.get(id), Option.isSome),
  definitelyMissing: (id) => provenAbsent(core, id),
  mightExist: (id) => Effect.map(provenAbsent(core, id), (absent) => !absent),
  isCurrent: (id, version) =>
    guardedById(
      core,
      id,
      Effect.map(
        newestHead(core, reads, id, "isCurrent"),
        (head) => head !== undefined && !head.deleted && head.version === version
      )
    ),
  status: (id) =>
    guardedById(
      core,
      id,
      Effect.map(knownHead(core, reads, id), (found) => {
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
    )
})

const provenAbsent = (core: EngineState, id: string) =>
  guardedById(
    core,
    id,
    Effect.sync(() => core.provenAbsent(id))
  )

/** The newest version that log or archive know, asking the archive unless the pending write is known to be that. */
const newestHead = (
  core: EngineState,
  reads: PointReads,
  id: string,
  operation: string
): Effect.Effect<ItemHead | undefined, ReadError> =>
  Effect.suspend((): Effect.Effect<ItemHead | undefined, ReadError> => {
    const sole = core.writer.isCertain()
    const pending = core.pending.get(id)
    if (sole && pending !== undefined && !core.versions.isUnchecked(pending)) return Effect.succeed(pending)
    const archive = core.tiers?.archive
    if (archive === undefined) return Effect.map(reads.fetch([id]), (records) => records.get(id))
    return touchedMeanwhile(core, [id], (watches) =>
      Effect.flatMap(Effect.mapError(archive.heads([id]), archiveUnavailable(operation)), ([stored]) => {
        const now = core.pending.get(id)
        // Archived while the archive was asked: its answer may be from before.
        const missed = now === undefined && (pending !== undefined || watches.get(id)!.dirty)
        return missed ? newestHead(core, reads, id, operation) : Effect.succeed(newestOf(stored, now))
      })
    )
  })

/** As `newestHead`; a pending write is known also while the archive cannot be asked, if it has been compared with it. */
const knownHead = (core: EngineState, reads: PointReads, id: string) =>
  Effect.catchTag(newestHead(core, reads, id, "status"), "TierUnavailable", (error) => {
    const pending = core.pending.get(id)
    return pending === undefined || core.versions.isUnchecked(pending) ? error : Effect.succeed(pending)
  })

const corrupt = ({ content, contentHash, id, version }: ItemRecord) =>
  Effect.map(hashOf(content), (actualHash) =>
    actualHash === contentHash
      ? undefined
      : new CorruptItem({ id, version, expectedHash: contentHash, actualHash })
  )

const verified = Effect.fnUntraced(function* (core: EngineState, reads: PointReads, id: string) {
  const head = yield* newestHead(core, reads, id, "getVerified")
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
