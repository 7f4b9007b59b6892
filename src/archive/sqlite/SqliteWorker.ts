/** A worker thread that holds one SQLite connection and runs the statements it is sent, one after the other. */
import { workerData } from "node:worker_threads"
import { serve } from "../../shared/WorkerServer.js"
import { openSqliteFile } from "./SqliteFile.js"
import type { SqliteOperations, SqliteWorkerData, StatementResult } from "./SqliteProtocol.js"

serve<SqliteOperations>(
  () => ({ operations: openSqliteFile(workerData as SqliteWorkerData) }),
  (result) => {
    const bytes = (result as Partial<StatementResult> | undefined)?.cells?.bytes
    return bytes === undefined ? [] : [bytes]
  }
)
