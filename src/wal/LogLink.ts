/**
 * The way to the log's worker, whichever it is at present: when one dies, the log is opened again in a new one and
 * proven as at a start. Until then every request fails.
 */
import { Clock, Duration, Effect, Schedule } from "effect"
import type { LogOpenError } from "../EngineError.js"
import type { LogConnection } from "./LogConnection.js"
import { connect } from "./LogConnection.js"
import type { LogResumption, OpenedFile } from "./LogProtocol.js"

// The thread lives in real time, whatever clock the program runs on.
const realClock = Clock.make()

/** From 100 ms doubling to 5 s. */
const attempts = Schedule.exponential("100 millis").pipe(Schedule.union(Schedule.spaced(Duration.seconds(5))))

export class LogLink {
  private refusal: LogOpenError | undefined

  constructor(
    private readonly path: string,
    private connection: LogConnection
  ) {}

  /** The worker at present. */
  get current(): LogConnection {
    return this.connection
  }

  /** Why no request can be answered now, or `undefined`. */
  get problem(): string | undefined {
    const { problem } = this.connection
    return problem === undefined || this.refusal === undefined
      ? problem
      : `${problem}, and it cannot be opened again: ${this.refusal.problem}`
  }

  /** Sends a request; see `LogConnection.request`. */
  readonly request: LogConnection["request"] = (operation, parameters, done, transfer) => {
    const { problem } = this
    if (problem === undefined) this.connection.request(operation, parameters, done, transfer)
    else done({ ok: false, problem })
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
      restore(Effect.suspend(() => Effect.zipRight(this.connection.exited, reopen))).pipe(
        Effect.tap(({ connection, file }) =>
          Effect.sync(() => {
            this.refusal = undefined
            resumed(file)
            this.connection = connection
          })
        )
      )
    ).pipe(Effect.forever, Effect.withClock(realClock))
  }

  /** Closes the file and ends the thread. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => this.connection.close)
}
