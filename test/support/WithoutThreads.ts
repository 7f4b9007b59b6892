/** A system that has no thread left: as Node says it, at once. */
import { syncBuiltinESMExports } from "node:module"
import workerThreads from "node:worker_threads"
import { Effect } from "effect"

const { Worker } = workerThreads

class NoWorker {
  constructor() {
    throw Object.assign(new Error("Worker initialization failure: EAGAIN"), {
      code: "ERR_WORKER_INIT_FAILED"
    })
  }
}

const put = (worker: unknown) =>
  Effect.sync(() => {
    Object.assign(workerThreads, { Worker: worker })
    syncBuiltinESMExports()
  })

/** Runs this while no worker thread can be started in this process. */
export const withoutThreads = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.acquireUseRelease(
    put(NoWorker),
    () => effect,
    () => put(Worker)
  )
