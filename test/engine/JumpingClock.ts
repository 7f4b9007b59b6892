import { Clock, Duration, Effect } from "effect"

/**
 * A clock that stands still until it jumps, and then wakes everything that has become due once. `TestClock` stops at
 * every moment between, which takes minutes for the hours that some duties wait.
 */
export class JumpingClock implements Clock.Clock {
  readonly [Clock.ClockTypeId]: Clock.ClockTypeId = Clock.ClockTypeId
  private now = 0
  private sleepers: Array<{ readonly at: number; readonly wake: () => void }> = []

  unsafeCurrentTimeMillis(): number {
    return this.now
  }

  unsafeCurrentTimeNanos(): bigint {
    return BigInt(this.now) * 1_000_000n
  }

  readonly currentTimeMillis = Effect.sync(() => this.unsafeCurrentTimeMillis())
  readonly currentTimeNanos = Effect.sync(() => this.unsafeCurrentTimeNanos())

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    return Effect.async((resume) => {
      const sleeper = { at: this.now + Duration.toMillis(duration), wake: () => resume(Effect.void) }
      this.sleepers.push(sleeper)
      return Effect.sync(() => {
        this.sleepers = this.sleepers.filter((other) => other !== sleeper)
      })
    })
  }

  /** Goes on by that many milliseconds, and lets everything run that is due. */
  jump(ms: number): Effect.Effect<void> {
    return Effect.zipRight(
      Effect.sync(() => {
        this.now += ms
        const due = this.sleepers.filter(({ at }) => at <= this.now).sort((a, b) => a.at - b.at)
        this.sleepers = this.sleepers.filter(({ at }) => at > this.now)
        for (const { wake } of due) wake()
      }),
      Effect.yieldNow().pipe(Effect.repeatN(300))
    )
  }
}
