/**
 * Which archive this node's log is carried to. A log is bound to the lineage of the first archive it meets; from
 * then on another archive, or one that has become empty, is refused: the log would be carried there unnoticed, and
 * what it had archived before would seem never to have been.
 */

import { dirname, resolve } from "node:path"
import { Effect } from "effect"
import type { OpenArchive } from "../../archive/Archive.js"
import { ArchiveStartError, type LogUnavailable } from "../../EngineError.js"
import type { OpenLog } from "../../wal/WriteAheadLog.js"
import type { EngineState } from "./EngineState.js"

const advice =
  "Put the archive that belongs to this log back, or restore it from a backup. To go on with this one all the same, start once with SQL_ACCEPT_OTHER=true: what the log still holds goes to it, and what was archived before is not in it."

const missingLogAdvice =
  "Put the log that belongs to this archive back (wal.db, with its -wal file): it may hold acknowledged writes that were not archived yet. If it is lost, or the archive was restored from a backup, start once with SQL_ACCEPT_OTHER=true: this node goes on with a new log."

/**
 * Makes sure that this archive is the one that the log belongs to; binds the log when it belongs to none yet. An archive
 * that cannot be asked is not connected: nothing may be read from it, and nothing carried to it. The version clock
 * learns of the archive's newest version.
 */
export const bind = (core: EngineState, archive: OpenArchive): Effect.Effect<void, ArchiveStartError> =>
  Effect.gen(function* () {
    const { lineage, maxVersion } = yield* Effect.mapError(
      Effect.all({ lineage: archive.lineage, maxVersion: archive.maxVersion }),
      ({ message }) =>
        new ArchiveStartError({ target: archive.target, kind: "unreachable", problem: message })
    )
    const isEmpty = maxVersion === 0
    const bound = core.log.binding()
    const lacksLog = bound === undefined && !isEmpty && isNew(core.log) && areNeighbours(core.log, archive)
    const refused = lacksLog
      ? "it has been written to, but the log beside it is new and empty: its own log is missing"
      : bound === undefined
        ? undefined
        : problemOf(bound, lineage, isEmpty)
    if (refused !== undefined) {
      if (!core.config().sqlAcceptOther) {
        return yield* new ArchiveStartError({
          target: archive.target,
          kind: "refused",
          problem: refused,
          advice: lacksLog ? missingLogAdvice : advice
        })
      }
      yield* Effect.logWarning(`${refused}; accepted, because SQL_ACCEPT_OTHER is set`)
    }
    if (bound === undefined || refused !== undefined) {
      yield* Effect.catchAll(core.log.bind({ lineage, archived: !isEmpty }), (error) =>
        refused === undefined
          ? // A log that takes no writes now is bound with the first write that is archived.
            Effect.logWarning(`the log could not be bound to its archive yet: ${error.message}`)
          : // How far it was carried to the other archive must not be believed of this one.
            new ArchiveStartError({
              target: archive.target,
              kind: "refused",
              problem: `${refused}, and the log could not be bound to it: ${error.message}`,
              advice: "The log has to take writes before its archive can be changed; check its volume."
            })
      )
    }
    if (refused !== undefined) core.carryAgain()
    core.lineage = lineage
    core.clock.observe(maxVersion)
  })

const isNew = (log: OpenLog) => log.maxVersion === 0 && log.usage().committed === 0

/** An embedded archive is written through the log in its folder; others may have many logs, and this one may be new. */
const areNeighbours = (log: OpenLog, { target }: OpenArchive) => {
  const file = /^sqlite:(.+)$/.exec(target)?.[1]
  return file !== undefined && dirname(resolve(file)) === dirname(log.path)
}

const problemOf = (
  bound: { readonly lineage: string; readonly archived: boolean },
  lineage: string,
  isEmpty: boolean
): string | undefined => {
  if (bound.lineage !== lineage) {
    return isEmpty
      ? "it is a new and empty archive, but this log has been written to another one before"
      : "it is another archive than the one this log has been written to"
  }
  return bound.archived && isEmpty ? "it is empty, but this log has been written to it before" : undefined
}

/** The archive has taken something: from now on it cannot be empty. */
export const noteArchived = (core: EngineState): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { lineage } = core
    return lineage === undefined || core.log.binding()?.archived === true
      ? Effect.void
      : Effect.ignore(core.log.bind({ ...core.log.binding(), lineage, archived: true }))
  })

/**
 * How far the log has been carried, where it cannot leave yet: the next start goes on from there, and archives nothing
 * that was dropped from the dead letters since.
 */
export const noteCarried = (core: EngineState): Effect.Effect<void, LogUnavailable> =>
  Effect.suspend(() => {
    const bound = core.log.binding()
    const carriedTo = core.tail.consumed
    return bound === undefined || (bound.carriedTo ?? 0) >= carriedTo
      ? Effect.void
      : core.log.bind({ ...bound, carriedTo })
  })
