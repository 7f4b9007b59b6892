/** The log's worker thread: the only place where its SQLite file is touched. */
import { workerData } from "node:worker_threads"
import { serve } from "../shared/WorkerServer.js"
import { LogFile } from "./LogFile.js"
import type { LogOperations, LogWorkerData } from "./LogProtocol.js"

/** What was read from the log is handed over: to copy it would take the main thread's time. */
const buffersOf = (value: unknown): Array<ArrayBuffer> =>
  Array.isArray(value)
    ? value.flatMap(({ data }: { readonly data: Uint8Array<ArrayBuffer> }) =>
        data.buffer.byteLength === data.length ? [data.buffer] : []
      )
    : []

serve<LogOperations>(() => {
  const { path, resume } = workerData as LogWorkerData
  const file = LogFile.open(path, resume)
  return { operations: file, opened: file.opened, afterReply: () => file.afterReply() }
}, buffersOf)
