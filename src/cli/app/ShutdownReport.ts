/** What a shutdown report means for whoever reads the log lines and the exit code. */
import { Effect } from "effect"
import { shutdownBody } from "../../http/api/ApiSchemas.js"
import type { ShutdownReport } from "../../Lifecycle.js"
import { leftHint } from "../io/Render.js"
import { type CliError, failed } from "./CliError.js"

export const logReport = (report: ShutdownReport): Effect.Effect<void> => {
  const { clean, ...fields } = shutdownBody(report)
  const log = clean ? Effect.logInfo : Effect.logWarning
  return log(clean ? "shut down cleanly" : "shut down, but not cleanly").pipe(
    Effect.annotateLogs({ clean, ...fields })
  )
}

/** Logs the report; fails when it is not clean. */
export const checkReport = (report: ShutdownReport): Effect.Effect<void, CliError> =>
  Effect.zipRight(
    logReport(report),
    shutdownBody(report).clean
      ? Effect.void
      : failed(`the shutdown was not clean: ${report.problems.join("; ")}`, leftHint(report.itemsLeftInLog))
  )
