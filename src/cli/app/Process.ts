/** The process `sync-engine`, once its modules are loaded. */
import { isUtf8 } from "node:buffer"
import { readFileSync } from "node:fs"
import { Effect, Layer } from "effect"
import { EngineFactory } from "../backend/EngineFactory.js"
import * as NodeStdio from "../io/NodeStdio.js"
import * as Cli from "./Cli.js"
import { renderError, usage } from "./CliError.js"

/** Ends the process once standard output has been handed over. */
const exit = (code: number): void => {
  process.exitCode = code
  const end = () => process.exit(code)
  if (process.stdout.writableLength === 0) end()
  else process.stdout.write("", end)
}

const crash = (error: unknown): void => {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  process.stderr.write(`sync-engine: an internal error happened: ${text}\n`)
  process.exit(1)
}

/** Node puts U+FFFD in the place of bytes that are not UTF-8; nobody wants that as part of an id. Linux tells. */
const isGarbled = (args: ReadonlyArray<string>): boolean => {
  if (!args.some((arg) => arg.includes("\ufffd"))) return false
  try {
    return !isUtf8(readFileSync("/proc/self/cmdline"))
  } catch {
    return false
  }
}

/** Real engines, loaded when a command wants one. */
const engines = Layer.succeed(EngineFactory, {
  make: (config) =>
    Effect.flatMap(
      Effect.promise(() => import("../backend/NodeEngine.js")),
      ({ make }) => make(config)
    )
})

/** Runs the command line of this process and ends it. */
export const main = (): void => {
  process.on("uncaughtException", crash)
  process.on("unhandledRejection", crash)
  const args = process.argv.slice(2)
  if (isGarbled(args)) {
    process.stderr.write(renderError(usage("an argument is not valid UTF-8")))
    process.exit(2)
  }
  const command = Cli.run(args).pipe(Effect.provide(Layer.merge(NodeStdio.layer, engines)))

  Effect.runPromise(command).then(exit, crash)
}
