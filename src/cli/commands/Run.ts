/**
 * `run`: the daemon.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { toCliError } from "../CliError.js"
import * as ConfigFlags from "../ConfigFlags.js"
import { launch, supervise } from "../Daemon.js"
import { define } from "../Definition.js"
import * as Logging from "../Logging.js"
import { Stdio } from "../Stdio.js"

/** @since 0.1.0 @category commands */
export const run = define({
  name: "run",
  description:
    "Run the daemon: the engine and its HTTP server, until SIGTERM, SIGINT, SIGQUIT or `sync-engine shutdown`. Exit code 0 when the shutdown report is clean.",
  examples: [
    ["sync-engine run", "On the defaults."],
    ["sync-engine run --data-dir /var/lib/sync-engine --http-port 8080", "Elsewhere."],
    [
      "SYNC_ENGINE_SQL_URL_FILE=/run/secrets/sql sync-engine run --config sync-engine.json",
      "Secrets from files, the rest from a file."
    ]
  ],
  config: { flags: ConfigFlags.allOptions },
  switches: ConfigFlags.switches,
  handlesSignals: true,
  handler: ({ flags }) =>
    Effect.gen(function* () {
      const stdio = yield* Stdio
      const settings = yield* ConfigFlags.load(flags)
      yield* Effect.scoped(
        Effect.flatMap(Effect.mapError(launch(settings), toCliError), (launched) =>
          supervise(stdio, launched)
        )
      ).pipe(Logging.following(settings.server))
    })
})
