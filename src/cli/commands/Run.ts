/** `run`: the daemon. */
import { Effect } from "effect"
import { toCliError } from "../app/CliError.js"
import * as Logging from "../io/Logging.js"
import { Stdio } from "../io/Stdio.js"
import { define } from "../parser/Command.js"
import * as ConfigFlags from "../parser/ConfigFlags.js"

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
  handlesSignals: true,
  handler: Effect.fnUntraced(function* ({ flags }) {
    const stdio = yield* Stdio
    const settings = yield* ConfigFlags.load(flags)
    const { launch, supervise } = yield* Effect.promise(() => import("../app/Daemon.js"))
    yield* Effect.mapError(launch(settings), toCliError).pipe(
      Effect.flatMap((launched) => supervise(stdio, launched)),
      Effect.scoped,
      Logging.following(settings.server)
    )
  })
})
