/**
 * The main thread's end of the log's worker: sends requests, keeps their callbacks, and makes sure that each is
 * called exactly once, also when the worker dies.
 */
import { createRequire } from "node:module"
import { Worker } from "node:worker_threads"
import { Clock, Effect } from "effect"
import { LogOpenError } from "../EngineError.js"
import type {
  LogOperation,
  LogOperations,
  LogReply,
  LogRequest,
  LogResumption,
  LogWorkerData,
  OpenedFile
} from "./LogProtocol.js"

/** How a request ended. */
export type Outcome<A> =
  | { readonly ok: true; readonly value: A }
  | { readonly ok: false; readonly problem: string }

type Parameters_<K extends LogOperation> = Parameters<LogOperations[K]>
type Result<K extends LogOperation> = ReturnType<LogOperations[K]>

const realClock = Clock.make()
const workerModule = createRequire(import.meta.url).resolve("#workers/wal/LogWorker")

export class LogConnection {
  private readonly waiting = new Map<number, (outcome: Outcome<never>) => void>()
  private nextId = 1
  private ended: string | undefined
  private gone = false
  private readonly exits: Array<() => void> = []

  /** Wraps a worker that has opened its file. */
  constructor(private readonly worker: Worker) {
    worker.on("message", (reply: LogReply) => this.receive(reply))
    worker.on("messageerror", (error) => {
      this.end(`its worker thread sent what cannot be read (${error.message})`)
      void worker.terminate()
    })
    worker.on("error", (error) => this.end(`its worker thread failed (${error.message})`))
    worker.on("exit", () => {
      this.end("its worker thread has ended")
      this.gone = true
      for (const exit of this.exits) exit()
      this.exits.length = 0
    })
  }

  /** Why no request can be answered any more, or `undefined`. */
  get problem(): string | undefined {
    return this.ended
  }

  /** Sends a request; requests are served in order. After the end `done` is called at once. */
  request<K extends LogOperation>(
    operation: K,
    parameters: Parameters_<K>,
    done: (outcome: Outcome<Result<K>>) => void,
    transfer: ReadonlyArray<ArrayBuffer> = []
  ): void {
    if (this.ended !== undefined) {
      done({ ok: false, problem: this.ended })
      return
    }
    const id = this.nextId++
    const request: LogRequest = { id, operation, arguments: parameters }
    this.waiting.set(id, done)
    this.worker.postMessage(request, transfer)
  }

  /** From now on every request fails with this problem, those that wait included. */
  end(problem: string): void {
    if (this.ended !== undefined) return
    this.ended = problem
    const callbacks = [...this.waiting.values()]
    this.waiting.clear()
    for (const callback of callbacks) callback({ ok: false, problem })
  }

  /** Ends the thread without closing the file, as a crash would. */
  readonly terminate: Effect.Effect<void> = Effect.promise(() => this.worker.terminate()).pipe(Effect.asVoid)

  /** Waits until the thread has ended, and with it has let go of the file. One that no longer answers is ended. */
  readonly exited: Effect.Effect<void> = Effect.async<void>((resume) => {
    if (this.gone) resume(Effect.void)
    else this.exits.push(() => resume(Effect.void))
  })

  /** Closes the file and ends the thread; after ten seconds without an answer, ends it all the same. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    if (this.ended !== undefined) return this.terminate
    this.request("close", [], () => {})
    return this.exited.pipe(
      Effect.interruptible,
      Effect.timeoutTo({
        duration: "10 seconds",
        onSuccess: () => Effect.void,
        onTimeout: () => this.terminate
      }),
      Effect.flatten,
      // The thread lives in real time, whatever clock the program runs on.
      Effect.withClock(realClock)
    )
  })

  private receive(reply: LogReply): void {
    if (reply.type !== "done" && reply.type !== "failed") return
    const callback = this.waiting.get(reply.id)
    this.waiting.delete(reply.id)
    callback?.(
      reply.type === "done"
        ? { ok: true, value: reply.value as never }
        : { ok: false, problem: reply.problem }
    )
  }
}

const opened = (worker: Worker, path: string) =>
  Effect.async<OpenedConnection, LogOpenError>((resume) => {
    const refuse = (kind: LogOpenError["kind"], problem: string) =>
      resume(Effect.fail(new LogOpenError({ path, kind, problem })))
    const onError = (error: Error) => refuse("cannot-open", `its worker thread failed (${error.message})`)
    const onExit = () => refuse("cannot-open", "its worker thread ended before it had opened the log")
    worker.once("error", onError)
    worker.once("exit", onExit)
    worker.once("message", (reply: LogReply) => {
      if (reply.type === "opened") {
        worker.off("exit", onExit)
        worker.off("error", onError)
        resume(Effect.succeed({ connection: new LogConnection(worker), file: reply.file }))
      } else if (reply.type === "refused") {
        refuse(reply.problem.kind, reply.problem.problem)
      }
    })
  })

/** A connection and what its file held when it was opened. */
export interface OpenedConnection {
  readonly connection: LogConnection
  readonly file: OpenedFile
}

/**
 * Starts the worker and opens the file at this absolute path. Whoever gets the connection has to close it; a failed
 * or interrupted attempt leaves no thread behind.
 */
export const connect = (
  path: string,
  resume?: LogResumption
): Effect.Effect<OpenedConnection, LogOpenError> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.suspend(() => {
      const data: LogWorkerData = { path, resume }
      const worker = new Worker(workerModule, {
        workerData: data,
        execArgv: [],
        name: "effect-sync-engine log"
      })
      return restore(opened(worker, path)).pipe(
        Effect.onError(() => Effect.promise(() => worker.terminate()))
      )
    })
  )
