/**
 * The shutdown as finalizers. A room registers what it has to do at the end when it is built, above whatever it needs;
 * so closing the scope, in reverse, is the shutdown. Each step has a share of `SHUTDOWN_TIMEOUT`, which is kept for it:
 * those before it may use what nobody has a share in, and what others have left over, but never its own.
 *
 * Rejected: one deadline for all, because an archive that hangs would leave the log open.
 */
import { Duration, Effect, Exit, Option, Schedule, Scope } from "effect"

/** How much of the time is kept for each, in the order in which they run; the names stand in the report. */
const shares = {
  "start-up": 0.1,
  "writes under way": 0.1,
  "run loop": 0.1,
  flush: 0.1,
  "filter snapshot": 0.05,
  "writers' register": 0.05,
  "change stream": 0.05,
  "log checkpoint": 0.05,
  "closing the cache": 0.025,
  "closing the archive": 0.025,
  "closing the log": 0.05
}

type StepName = keyof typeof shares

/** Between two attempts at what fails for a time: doubling from 50 ms to at most a second. */
const pauses = Schedule.union(Schedule.exponential("50 millis"), Schedule.spaced("1 second"))

/** Goes on beside when its time is over: what is closed, or was opened, late is closed all the same. */
const closing = (scope: Scope.CloseableScope) => Effect.uninterruptible(Scope.close(scope, Exit.void))

interface Failure {
  readonly message: string
}

export class ShutdownSteps {
  /** What could not be done, in plain words. */
  readonly problems: Array<string> = []
  /** Whether it ends a start that has failed. */
  startFailed = false
  private readonly done = new Set<StepName>()
  /** Shares of those that have not run yet. */
  private kept = 0
  private timeoutMs = 0
  private deadlineMs = 0

  private constructor(
    /** Of the rooms. */
    private readonly scope: Scope.CloseableScope,
    /** Of log, archive and cache, which are closed after all rooms. */
    private readonly tiers: Scope.CloseableScope,
    private readonly elapsedMs: () => number
  ) {}

  /** @param elapsedMs milliseconds that only go on */
  static readonly make = (elapsedMs: () => number): Effect.Effect<ShutdownSteps> =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      return new ShutdownSteps(scope, yield* Scope.fork(scope, scope.strategy), elapsedMs)
    })

  /** Runs all steps, the last one that was registered first. */
  close(timeoutMs: number, earlierProblems: ReadonlyArray<string>): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.problems.push(...earlierProblems)
      this.startFailed = earlierProblems.length > 0
      this.timeoutMs = timeoutMs
      this.deadlineMs = this.elapsedMs() + timeoutMs
      return Scope.close(this.scope, Exit.void)
    })
  }

  /** Whether a step has run, and succeeded. */
  succeeded(name: StepName): boolean {
    return this.done.has(name)
  }

  /** Registers a step; it runs before those that are registered already. `again`: whether a failure is tried again. */
  add(
    name: StepName,
    body: Effect.Effect<unknown, Failure>,
    again: () => boolean = () => false,
    scope: Scope.Scope = this.scope
  ): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.kept += shares[name]
      return Scope.addFinalizer(
        scope,
        Effect.suspend(() => {
          this.kept -= shares[name]
          return this.run(name, body, again)
        })
      )
    })
  }

  /** What needs no time. */
  addSync(body: () => void): Effect.Effect<void> {
    return Scope.addFinalizer(this.scope, Effect.sync(body))
  }

  /** A scope whose closing is a step. */
  scoped(name: StepName): Effect.Effect<Scope.CloseableScope> {
    return Effect.tap(Scope.make(), (scope) => this.add(name, closing(scope)))
  }

  /** Opens a tier, and closes it as a step behind those of the rooms. What fails or is interrupted leaves nothing open. */
  open<A, E, R>(name: StepName, tier: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, Scope.Scope>> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.gen(this, function* () {
        const scope = yield* Scope.make()
        const exit = yield* Effect.exit(restore(Scope.extend(tier, scope)))
        if (Exit.isSuccess(exit)) yield* this.add(name, closing(scope), undefined, this.tiers)
        else yield* Scope.close(scope, exit)
        return yield* exit
      })
    )
  }

  private run(
    name: StepName,
    body: Effect.Effect<unknown, Failure>,
    again: () => boolean
  ): Effect.Effect<void> {
    return Effect.gen(this, function* () {
      const { timeoutMs } = this
      let last: string | undefined
      const leftMs = this.deadlineMs - this.elapsedMs() - timeoutMs * this.kept
      // Disconnected: a driver that does not let itself be interrupted must not hold up the others.
      const exit = yield* body.pipe(
        Effect.tapError(({ message }) =>
          Effect.sync(() => {
            last = message
          })
        ),
        Effect.retry({ schedule: pauses, while: again }),
        Effect.interruptible,
        Effect.disconnect,
        Effect.timeoutOption(Duration.millis(Math.max(0, leftMs))),
        Effect.exit
      )
      if (Exit.isSuccess(exit) && Option.isSome(exit.value)) {
        this.done.add(name)
        return
      }
      const late = `not done within the shutdown timeout of ${timeoutMs} ms`
      this.problems.push(`${name}: ${last ?? (Exit.isSuccess(exit) ? late : "failed unexpectedly")}`)
    })
  }
}
