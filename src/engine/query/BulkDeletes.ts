/** Deleting everything that a range holds, page by page. */
import { Effect } from "effect"
import type { ScanRange } from "../../archive/Archive.js"
import type { ReadError, WriteError } from "../../EngineError.js"
import { VersionMismatch } from "../../EngineError.js"
import { prefixProblem } from "../../SyncItem.js"
import type { EngineState } from "../state/EngineState.js"
import { newestOf } from "../state/KnownVersions.js"
import { settledMeanwhile } from "../state/Watching.js"
import type { WriteOperations } from "../write/WriteOperations.js"
import { inState, type Pages } from "./Pages.js"
import type { QueryApi } from "./QueryApi.js"
import { guarded, invalid, invalidState, orFail } from "./Requests.js"

export type BulkDeletes = Pick<QueryApi, "deleteByState" | "deletePrefix">

export const make = (core: EngineState, writes: WriteOperations, pages: Pages): BulkDeletes => {
  /** Deletes one page of a range. An item may leave the range until its own deletion is decided, and is left then. */
  const deletePage = (range: ScanRange, operation: string) =>
    settledMeanwhile(
      core,
      Effect.fnUntraced(function* (settled) {
        const left = (id: string): boolean => {
          const entry = core.pending.get(id) ?? settled.get(id)
          const compared = entry?.unchecked === true ? undefined : entry
          const newest = newestOf(core.inFlight.newest(id)?.record, compared)
          return newest !== undefined && (newest.deleted || !inState(range, newest.state))
        }
        const limit = Math.min(core.limits.idsPerDelete, core.config().maxBatchItems)
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
    )

  const bulkDelete = Effect.fnUntraced(function* (
    range: ScanRange,
    operation: string
  ): Effect.fn.Return<number, WriteError | ReadError> {
    let deleted = 0
    let after: string | undefined
    for (;;) {
      const page = yield* guarded(core, deletePage({ ...range, after }, operation))
      deleted += page.deleted
      if (page.next === undefined) return deleted
      after = page.next
    }
  })

  return {
    deleteByState: (state) =>
      orFail(invalidState(state), bulkDelete({ prefix: "", state }, "deleteByState")).pipe(
        Effect.withSpan("SyncEngine.deleteByState")
      ),
    deletePrefix: (prefix) => {
      const problem =
        prefix === ""
          ? "is empty; deleting everything has to be asked for by prefixes"
          : prefixProblem(prefix)
      return orFail(invalid("prefix", problem), bulkDelete({ prefix }, "deletePrefix")).pipe(
        Effect.withSpan("SyncEngine.deletePrefix")
      )
    }
  }
}
