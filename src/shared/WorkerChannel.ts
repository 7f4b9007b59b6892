/**
 * Requests to a worker thread and their replies, each side of it. Requests are served one at a time, in order; each
 * ends exactly once, those that wait when the thread dies with that failure. A thread that has found its database
 * damaged does nothing more but close it.
 *
 * Callbacks and not Effect's own `Worker`: a group commit ends for thousands of callers in one turn of the event loop.
 */
import { createRequire } from "node:module"
import { Worker } from "node:worker_threads"
import { Clock, Effect, Either } from "effect"

/** An error without its prototype, which does not cross threads. */
export interface WorkerFailure {
  readonly message: string
  /** That of SQLite or `node:fs`; `WORKER_LOST` when the thread is gone. */
  readonly code: string | undefined
  /** The database is not what it was; see `isDamage`. */
  readonly damaged?: boolean
  /** A value was refused before it reached the database. */
  readonly invalidValue?: boolean
}

export type Done<A> = (outcome: Either.Either<A, WorkerFailure>) => void

/** What a thread does, by name; it has to have a `close`. */
export type Operations<O> = { readonly [K in keyof O]: (...parameters: never) => unknown }
type Asked<O extends Operations<O>, K extends keyof O> = Parameters<O[K]>

export interface WorkerRequest {
  readonly id: number
  readonly operation: string
  readonly parameters: ReadonlyArray<unknown>
}

/** The reply with id 0 is to the start itself. */
export type WorkerReply =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly failure: WorkerFailure }

const workers = createRequire(import.meta.url)

// Threads live in real time, whatever clock the program runs on.
export const realClock = Clock.make()

export class WorkerChannel<O extends Operations<O>, Opened = unknown> {
  private readonly worker: Worker | undefined
  private readonly waiting = new Map<number, Done<never>>()
  private readonly ended: Promise<void>
  private nextId = 1
  private failure: WorkerFailure | undefined

  /**
   * Starts the thread of this module (a path in `#workers`). `opened` is called with what it opened, or why it
   * could not; requests may be sent before. A thread that cannot be started is one that has died: `opened` is called
   * before this returns.
   */
  constructor(module: string, data: unknown, opened: Done<Opened>) {
    this.waiting.set(0, opened)
    let worker: Worker
    try {
      const options = { workerData: data, execArgv: [], name: module }
      worker = new Worker(workers.resolve(`#workers/${module}`), options)
    } catch (error) {
      // The system has no thread left, or the package's files are gone.
      this.ended = Promise.resolve()
      this.lose(`its worker thread could not be started (${(error as Error).message})`)
      return
    }
    this.worker = worker
    worker.on("message", (reply: WorkerReply) => this.receive(reply))
    worker.on("messageerror", (error) => {
      this.lose(`its worker thread sent what cannot be read (${error.message})`)
      void worker.terminate()
    })
    worker.on("error", (error) => this.lose(`its worker thread failed (${error.message})`))
    this.ended = new Promise((resolve) => {
      worker.on("exit", () => {
        this.lose("its worker thread has ended")
        resolve()
      })
    })
  }

  /** Why no request is served any more, or `undefined`. */
  get lost(): WorkerFailure | undefined {
    return this.failure
  }

  /** Sends a request. Throws what a value throws that cannot be sent. */
  request<K extends keyof O & string>(
    operation: K,
    parameters: Asked<O, K>,
    done: Done<ReturnType<O[K]>>,
    transfer: ReadonlyArray<ArrayBuffer> = []
  ): void {
    if (this.failure !== undefined) {
      done(Either.left(this.failure))
      return
    }
    const id = this.nextId++
    const request: WorkerRequest = { id, operation, parameters }
    this.worker?.postMessage(request, transfer)
    this.waiting.set(id, done)
  }

  /** Waits until the thread has ended, and with it has let go of its files. */
  readonly exited: Effect.Effect<void> = Effect.promise(() => this.ended)

  /** Ends the thread without closing anything, as a crash would. */
  readonly terminate: Effect.Effect<void> = Effect.promise(async () => {
    await this.worker?.terminate()
  })

  /** Closes what is open and ends the thread; one that does not end within ten seconds is ended all the same. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    if (this.failure !== undefined) return this.terminate
    this.request("close" as keyof O & string, [] as never, () => {})
    return Effect.interruptible(this.exited).pipe(
      Effect.timeoutOption("10 seconds"),
      Effect.flatMap((ended) => (ended._tag === "Some" ? Effect.void : this.terminate)),
      Effect.withClock(realClock)
    )
  })

  private receive(reply: WorkerReply): void {
    if (reply.id === 0 && "failure" in reply) {
      this.end(reply.failure)
      return
    }
    const done = this.waiting.get(reply.id)
    this.waiting.delete(reply.id)
    done?.("failure" in reply ? Either.left(reply.failure) : Either.right(reply.value as never))
  }

  private lose(message: string): void {
    this.end({ message, code: "WORKER_LOST" })
  }

  private end(failure: WorkerFailure): void {
    if (this.failure !== undefined) return
    this.failure = failure
    const callbacks = [...this.waiting.values()]
    this.waiting.clear()
    for (const done of callbacks) done(Either.left(failure))
  }
}
