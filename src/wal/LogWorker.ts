/** The log's worker thread: the only place where its SQLite file is touched. One request at a time, in order. */
import { parentPort, workerData } from "node:worker_threads"
import { damageAdvice, isDamage } from "../shared/files/OpenedFiles.js"
import { LogFile } from "./LogFile.js"
import type { LogReply, LogRequest, LogWorkerData } from "./LogProtocol.js"
import { openProblemOf } from "./OpenRefused.js"

const port = parentPort
if (port === null) throw new Error("this module runs in a worker thread")

/** What was read from the log is handed over: to copy it would take the main thread's time. */
const buffersOf = (value: unknown): Array<ArrayBuffer> => {
  const { parts = value } = (value ?? {}) as { readonly parts?: unknown }
  const data = Array.isArray(parts) ? parts.map((part: { data: Uint8Array<ArrayBuffer> }) => part.data) : []
  return data.flatMap(({ buffer, length }) => (buffer.byteLength === length ? [buffer] : []))
}

const reply = (message: LogReply) =>
  port.postMessage(message, message.type === "done" ? buffersOf(message.value) : [])

const serve = (file: LogFile) => {
  let broken: Error | undefined
  port.on("message", (request: LogRequest) => {
    try {
      if (broken !== undefined && request.operation !== "close") throw broken
      const operation = file[request.operation] as (...parameters: ReadonlyArray<unknown>) => unknown
      const value = operation.apply(file, request.arguments as Array<unknown>)
      reply({ type: "done", id: request.id, value })
    } catch (error) {
      const code = (error as { code?: unknown } | null)?.code
      const message = error instanceof Error ? error.message : String(error)
      const problem = typeof code === "string" ? `${message} (${code})` : message
      if (isDamage(error)) broken = new Error(`it is damaged: ${problem}; ${damageAdvice}`)
      reply({ type: "failed", id: request.id, problem: broken?.message ?? problem })
    }
    if (request.operation === "close") port.close()
    else file.afterReply()
  })
  reply({ type: "opened", file: file.opened })
}

try {
  const { path, resume } = workerData as LogWorkerData
  serve(LogFile.open(path, resume))
} catch (error) {
  reply({ type: "refused", problem: openProblemOf(error) })
}
