/** Phase 5: the filter of the snapshot is trusted when the archive is seen at its root, with this node as the only writer. */
import { Data, Effect, Option } from "effect"
import { Lifecycle } from "../../Lifecycle.js"
import { EngineRuntime } from "../background/EngineRuntime.js"
import { phase } from "./Phase.js"
import { TrustedRoot } from "./ReadRoot.js"

export class FilterNotProven extends Data.TaggedError("FilterNotProven")<{ readonly reason: string }> {}

export const restoreFilter = Effect.gen(function* () {
  const { core, filterMaintenance } = yield* EngineRuntime
  if (Option.isNone(yield* TrustedRoot)) return
  const lifecycle = yield* Lifecycle
  yield* lifecycle.mark("restore_started")
  const failure = yield* Effect.match(filterMaintenance.heartbeat, {
    onFailure: ({ message }) => message,
    onSuccess: () => undefined
  })
  yield* lifecycle.mark("restore_ready")
  const status = core.filter?.status()
  if (status?.trusted === true) return
  return yield* new FilterNotProven({ reason: failure ?? status?.reason ?? "there is none" })
}).pipe(phase("WarmingUp", "cf_restore"))
