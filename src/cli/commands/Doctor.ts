/** `doctor`: can an engine run here? */
import * as HttpClient from "@effect/platform/HttpClient"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Duration, Effect, Option } from "effect"
import { walFile } from "../../EngineConfig.js"
import { counted } from "../../shared/Counted.js"
import * as SqliteLog from "../../wal/SqliteLog.js"
import { failed } from "../app/CliError.js"
import * as Connection from "../backend/Connection.js"
import {
  type Check,
  checkDirectory,
  checkHttp,
  checkLog,
  checkNode,
  checkRedis,
  checkSpace,
  checkSql
} from "../doctor/Doctor.js"
import { define } from "../parser/CliCommand.js"
import * as ConfigFlags from "../parser/ConfigFlags.js"
import * as Common from "./Common.js"

const answerTimeout = Duration.seconds(2)

/** The address when a daemon answers there. */
const daemonAt = (url: string): Effect.Effect<string | undefined> =>
  Effect.flatMap(HttpClient.HttpClient, (client) => client.get(`${url}/health/live`)).pipe(
    Effect.flatMap((response) => response.json),
    Effect.scoped,
    Effect.disconnect,
    Effect.timeout(answerTimeout),
    Effect.map((body) => (typeof body === "object" && body !== null && "phase" in body ? url : undefined)),
    Effect.catchAllCause(() => Effect.succeed(undefined)),
    Effect.provide(NodeHttpClient.layer)
  )

const text = ({ advice, found, name, ok }: Check): string =>
  `${ok ? "ok     " : "PROBLEM"}  ${name.padEnd(14)}  ${found}\n${advice === undefined ? "" : `${" ".repeat(25)}${advice}\n`}`

export const doctor = define({
  name: "doctor",
  description:
    "Check Node.js, the data directory, the log, SQL, Redis, the HTTP address and the disk, without changing anything. Exit code 1 when there is a problem.",
  examples: [
    ["sync-engine doctor --data-dir /var/lib/sync-engine", "Before the first start, or when a start fails."],
    ["sync-engine doctor --json", "For a script."]
  ],
  config: {
    url: Connection.remoteOptions.url,
    json: Common.json,
    flags: ConfigFlags.allOptions
  },
  switches: ConfigFlags.switches,
  handler: (input) =>
    Effect.gen(function* () {
      const { engine, server } = yield* ConfigFlags.load(input.flags)
      const url = yield* Connection.readUrl({
        url: input.url,
        token: Option.none(),
        tokenFile: Option.none()
      })
      const tryOpen = Effect.scoped(Effect.asVoid(SqliteLog.open({ path: walFile(engine) })))
      const checks: ReadonlyArray<Check> = [
        checkNode(process.versions.node),
        checkDirectory(engine.dataDir),
        yield* checkLog(walFile(engine), tryOpen, daemonAt(url)),
        yield* checkSql(engine),
        yield* checkRedis(engine),
        yield* checkHttp(server, daemonAt),
        checkSpace(engine.dataDir, engine.walMaxBytes)
      ]
      const problems = checks.filter(({ ok }) => !ok).length
      yield* input.json
        ? Common.printJson({
            ok: problems === 0,
            checks: checks.map(({ advice, ...check }) => ({ ...check, advice: advice ?? null }))
          })
        : Common.print(checks.map(text).join(""))
      if (problems > 0) yield* failed(counted(problems, "problem"))
    })
})
