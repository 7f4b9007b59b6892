/** Phase 1: the log is opened, and the filter takes the snapshot that lies beside it. */
import { Context, Effect } from "effect"
import { ExistenceFilter } from "../../filter/ExistenceFilter.js"
import { type OpenLog, WriteAheadLog } from "../../wal/WriteAheadLog.js"
import { EngineRuntime } from "../background/EngineRuntime.js"
import { phase } from "./Phase.js"

/** The log, open. */
export class LogOpened extends Context.Tag("effect-sync-engine/startup/LogOpened")<LogOpened, OpenLog>() {}

export const openLog = Effect.gen(function* () {
  const { core, filterMaintenance, logProbe, shutdown } = yield* EngineRuntime
  const filter = yield* ExistenceFilter
  const log = yield* shutdown.open("closing the log", (yield* WriteAheadLog).open)
  core.openLog(log)
  // On a full volume what the log holds is carried to the archive all the same.
  yield* logProbe.probe
  // Before any write, so that everything the log holds is added to what the snapshot knows.
  core.filter = yield* filter.open({ node: log.identity })
  yield* filterMaintenance.load
  return log
  // A shutdown that comes meanwhile waits for it: its report says what the log holds.
}).pipe(Effect.uninterruptible, phase("Connecting", "wal_init"))
