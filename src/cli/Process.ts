/**
 * The process `sync-engine`, once its modules are loaded.
 *
 * @since 0.1.0
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Cli from "./Cli.js"
import * as NodeEngines from "./NodeEngines.js"
import * as NodeStdio from "./NodeStdio.js"

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

/** Runs the command line of this process and ends it. @since 0.1.0 @category main */
export const main = (): void => {
  process.on("uncaughtException", crash)
  process.on("unhandledRejection", crash)
  const command = Cli.run(process.argv.slice(2)).pipe(
    Effect.provide(Layer.mergeAll(NodeContext.layer, NodeStdio.layer, NodeEngines.layer))
  )

  Effect.runPromise(command).then(exit, crash)
}
