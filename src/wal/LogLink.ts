/**
 * The way to the log's worker, whichever it is at present: when one dies, the log is opened again in a new one and
 * proven as at a start. Until then every request fails.
 */
import { Effect, Either, Schedule } from "effect"
import { LogOpenError } from "../EngineError.js"
import { damageAdvice } from "../shared/files/OpenedFiles.js"
import { realClock, WorkerChannel, type WorkerFailure } from "../shared/WorkerChannel.js"
import {
  type LogOperations,
  type LogResumption,
  type LogWorkerData,
  type OpenedFile,
  openProblemOf
} from "./LogProtocol.js"

type LogChannel = WorkerChannel<LogOperations, OpenedFile>

interface OpenedChannel {
  readonly channel: LogChannel
  readonly file: OpenedFile
}

/**
 * Starts the worker and opens the file at this absolute path. Whoever gets the channel has to close it; a failed
 * or interrupted attempt leaves no thread behind.
 */
const connect = (path: string, resume?: LogResumption): Effect.Effect<OpenedChannel, LogOpenError> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.suspend(() => {
      const data: LogWorkerData = { path, resume }
      let channel: LogChannel | undefined
      const opening = Effect.async<OpenedChannel, LogOpenError>((settle) => {
        const opened = Either.match({
          onLeft: (failure: WorkerFailure) => settle(new LogOpenError({ path, ...openProblemOf(failure) })),
          onRight: (file: OpenedFile) => settle(Effect.succeed({ channel: started, file }))
        })
        const started: LogChannel = new WorkerChannel("wal/LogWorker", data, opened)
        channel = started
      })
      return Effect.onError(restore(opening), () => channel?.terminate ?? Effect.void)
    })
  )

const problemOf = ({ code, damaged, message }: WorkerFailure): string => {
  const problem = code === undefined || code === "WORKER_LOST" ? message : `${message} (${code})`
  return damaged === true ? `it is damaged: ${problem}; ${damageAdvice}` : problem
}

/** From 100 ms doubling to 5 s. */
const attempts = Schedule.exponential("100 millis").pipe(Schedule.union(Schedule.spaced("5 seconds")))

export class LogLink {
  private refusal: LogOpenError | undefined

  private constructor(
    private readonly path: string,
    private channel: LogChannel
  ) {}

  /** Opens the log; closing the scope closes the file and ends the thread. */
  static readonly open = (path: string) =>
    Effect.uninterruptibleMask((restore) =>
      restore(connect(path)).pipe(
        Effect.map(({ channel, file }) => ({ link: new LogLink(path, channel), file })),
        Effect.tap(({ link }) => Effect.addFinalizer(() => Effect.suspend(() => link.channel.close)))
      )
    )

  /** Why no request is served now, or `undefined`. */
  get problem(): string | undefined {
    const { lost } = this.channel
    return lost === undefined || this.refusal === undefined
      ? lost?.message
      : `${lost.message}, and it cannot be opened again: ${this.refusal.problem}`
  }

  /** Sends a request; they are served in order. */
  request<K extends keyof LogOperations>(
    operation: K,
    parameters: Parameters<LogOperations[K]>,
    done: (outcome: Either.Either<ReturnType<LogOperations[K]>, string>) => void,
    transfer?: ReadonlyArray<ArrayBuffer>
  ): void {
    const { problem } = this
    if (problem !== undefined) done(Either.left(problem))
    else
      this.channel.request(
        operation,
        parameters,
        (outcome) => done(Either.mapLeft(outcome, problemOf)),
        transfer
      )
  }

  /**
   * Waits for the worker's end and opens the log again, for ever.
   *
   * @param known what the file has to hold
   * @param resumed called with what it holds
   */
  keepOpen(known: () => LogResumption, resumed: (file: OpenedFile) => void): Effect.Effect<never> {
    const reopen = Effect.suspend(() => connect(this.path, known())).pipe(
      Effect.tapError((error) =>
        Effect.sync(() => {
          this.refusal = error
        })
      ),
      Effect.retry(attempts),
      Effect.orDie
    )
    return Effect.uninterruptibleMask((restore) =>
      restore(Effect.suspend(() => Effect.zipRight(this.channel.exited, reopen))).pipe(
        Effect.tap(({ channel, file }) =>
          Effect.sync(() => {
            this.refusal = undefined
            resumed(file)
            this.channel = channel
          })
        )
      )
    ).pipe(Effect.forever, Effect.withClock(realClock))
  }

  /** Ends the thread as a crash would; for tests of what follows. */
  readonly kill: Effect.Effect<void> = Effect.suspend(() => this.channel.terminate)
}
