/** `doctor`: can an engine run here? */
import { Effect } from "effect"
import { counted } from "../../shared/Counted.js"
import { failed } from "../app/CliError.js"
import * as Connection from "../backend/Connection.js"
import type { Check } from "../doctor/Doctor.js"
import { define } from "../parser/Command.js"
import * as ConfigFlags from "../parser/ConfigFlags.js"
import * as Common from "./Common.js"

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
  config: { url: Connection.remoteOptions.url, json: Common.json, flags: ConfigFlags.allOptions },
  handler: Effect.fnUntraced(function* (input) {
    const settings = yield* ConfigFlags.load(input.flags)
    const url = yield* Connection.readUrl(input)
    const { checkAll } = yield* Effect.promise(() => import("../doctor/Doctor.js"))
    const checks = yield* checkAll(settings, url)
    const problems = checks.filter(({ ok }) => !ok).length
    yield* Common.show(
      input,
      { ok: problems === 0, checks: checks.map(({ advice = null, ...check }) => ({ ...check, advice })) },
      checks.map(text).join("")
    )
    if (problems > 0) yield* failed(counted(problems, "problem"))
  })
})
