/** The thread's side of a `WorkerChannel`. Imports nothing of Effect, whose loading would be most of a thread's start. */
import { parentPort } from "node:worker_threads"
import { isDamage } from "./files/OpenedFiles.js"
import type { Operations, WorkerFailure, WorkerReply, WorkerRequest } from "./WorkerChannel.js"

const failureOf = (error: unknown): WorkerFailure => {
  const code = (error as { code?: unknown } | null)?.code
  return {
    message: error instanceof Error ? error.message : String(error),
    code: typeof code === "string" ? code : undefined,
    damaged: isDamage(error),
    invalidValue: error instanceof RangeError || error instanceof TypeError
  }
}

/**
 * Opens, then serves until `close`.
 *
 * @param buffersOf what of a result is handed over instead of copied
 */
export const serve = <O extends Operations<O>>(
  open: () => {
    readonly operations: O
    readonly opened?: unknown
    /** Work that should not delay a reply. */
    readonly afterReply?: () => void
  },
  buffersOf: (value: unknown) => ReadonlyArray<ArrayBuffer>
): void => {
  const port = parentPort
  if (port === null) throw new Error("this module runs in a worker thread")
  const reply = (message: WorkerReply) =>
    port.postMessage(message, "value" in message && message.id > 0 ? buffersOf(message.value) : [])
  let broken: WorkerFailure | undefined
  try {
    const { afterReply, opened, operations } = open()
    port.on("message", ({ id, operation, parameters }: WorkerRequest) => {
      try {
        if (broken !== undefined && operation !== "close") reply({ id, failure: broken })
        else {
          const run = operations[operation as keyof O]
          reply({ id, value: run.apply(operations, parameters as never) })
        }
      } catch (error) {
        const failure = failureOf(error)
        if (failure.damaged === true) broken = failure
        reply({ id, failure })
      }
      if (operation === "close") port.close()
      else afterReply?.()
    })
    reply({ id: 0, value: opened })
  } catch (error) {
    reply({ id: 0, failure: failureOf(error) })
    port.close()
  }
}
