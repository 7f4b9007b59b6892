/**
 * Who runs next, and what time it is. Fibers get their turns here instead of on the event loop, and time passes only
 * when nobody can run: a simulation is one synchronous loop, and each of its decisions comes from the seed.
 *
 * Why not `TestClock`: its `adjust` asks the real event loop several times for every wake-up whether all fibers have
 * settled, which takes milliseconds and leaves the order of fibers to the platform. This clock is a `Clock` as well.
 */
import { Clock, Duration, Effect, type Fiber, type Scheduler } from "effect"
import type { Chance } from "./Chance.js"

/** A process: when it has died, none of its fibers ever runs again. */
export interface Process {
  alive: boolean
  /** It stands still until then, as after SIGSTOP: no fiber runs, no timer fires, and its clocks go on. */
  pausedUntil?: number
}

interface Timer {
  due: number
  /** Decides between timers that are due together. */
  readonly order: number
  readonly process: Process
  readonly run: () => void
  cancelled: boolean
}

export class Turns {
  /** Milliseconds since the simulation began; never goes back. */
  now = 0
  /** What the wall clock shows beyond `now`; may be changed in both directions. */
  wallOffset = 1_750_000_000_000
  /** Turns given so far. */
  count = 0
  /** Fibers that wait until a time comes. */
  readonly sleeping = new Set<Fiber.RuntimeFiber<unknown, unknown>>()
  private digest = 0x811c9dc5
  private tasks: Array<{ readonly process: Process; readonly run: () => void }> = []
  private head = 0
  private readonly timers: Array<Timer> = []

  constructor(
    private readonly chance: Chance,
    /** First come, first served; otherwise the next fiber is drawn. */
    private readonly fifo: boolean,
    /** How likely a fiber loses its turn before any one of its steps; well below 0.05, because a yield takes some steps. */
    private readonly yieldChance: number
  ) {}

  /** Depends on every decision so far. */
  get fingerprint(): number {
    return this.digest >>> 0
  }

  get wallMs(): number {
    return Math.floor(this.now) + this.wallOffset
  }

  schedulerOf(process: Process): Scheduler.Scheduler {
    return {
      shouldYield: (fiber) =>
        fiber.currentOpCount > 2048 || (this.yieldChance > 0 && this.chance.bool(this.yieldChance))
          ? 0
          : false,
      scheduleTask: (run) => {
        if (process.alive) this.tasks.push({ process, run })
      }
    }
  }

  clockOf(process: Process): Clock.Clock {
    const millis = () => this.wallMs
    const nanos = () => BigInt(Math.floor(this.now * 1_000_000))
    return {
      [Clock.ClockTypeId]: Clock.ClockTypeId,
      unsafeCurrentTimeMillis: millis,
      unsafeCurrentTimeNanos: nanos,
      currentTimeMillis: Effect.sync(millis),
      currentTimeNanos: Effect.sync(nanos),
      sleep: (duration) =>
        Effect.withFiberRuntime((fiber) =>
          Effect.async((resume) => {
            const ms = Duration.toMillis(duration)
            if (ms === Number.POSITIVE_INFINITY) return undefined
            const sleeper = fiber as Fiber.RuntimeFiber<unknown, unknown>
            this.sleeping.add(sleeper)
            const timer = this.after(ms, process, () => {
              this.sleeping.delete(sleeper)
              resume(Effect.void)
            })
            return Effect.sync(() => {
              this.sleeping.delete(sleeper)
              timer.cancelled = true
            })
          })
        )
    }
  }

  /** Runs something after this many milliseconds, unless its process has died by then. */
  after(ms: number, process: Process, run: () => void): { cancelled: boolean } {
    const timer = {
      due: this.now + Math.max(0, ms),
      order: this.chance.bits(),
      process,
      run,
      cancelled: false
    }
    push(this.timers, timer)
    return timer
  }

  /** Gives one turn: to a fiber or, when none can run, to the next timer. False when there is nothing left at all. */
  next(): boolean {
    this.count++
    for (;;) {
      const task = this.takeTask()
      if (task === undefined) break
      if (!task.process.alive) continue
      if (this.isPaused(task.process)) {
        this.after(task.process.pausedUntil! - this.now, task.process, () => this.tasks.push(task))
        continue
      }
      task.run()
      return true
    }
    for (;;) {
      const timer = pop(this.timers)
      if (timer === undefined) return false
      if (timer.cancelled || !timer.process.alive) continue
      const { pausedUntil = 0 } = timer.process
      if (pausedUntil > timer.due) {
        timer.due = pausedUntil
        push(this.timers, timer)
        continue
      }
      this.now = Math.max(this.now, timer.due)
      this.note(Math.floor(timer.due * 16))
      timer.run()
      return true
    }
  }

  private isPaused({ pausedUntil = 0 }: Process): boolean {
    return pausedUntil > this.now
  }

  private takeTask() {
    const waiting = this.tasks.length - this.head
    if (waiting === 0) return undefined
    let index = this.head
    if (!this.fifo && waiting > 1) {
      index += this.chance.int(waiting)
      this.note(index - this.head)
    }
    const task = this.tasks[index]!
    this.tasks[index] = this.tasks[this.head]!
    this.head++
    if (this.head === this.tasks.length) {
      this.tasks = []
      this.head = 0
    } else if (this.head > 1024) {
      this.tasks = this.tasks.slice(this.head)
      this.head = 0
    }
    return task
  }

  private note(decision: number): void {
    this.digest = Math.imul(this.digest ^ decision, 0x01000193)
  }
}

const before = (a: Timer, b: Timer): boolean => a.due < b.due || (a.due === b.due && a.order < b.order)

const push = (heap: Array<Timer>, timer: Timer): void => {
  let at = heap.length
  heap.push(timer)
  while (at > 0) {
    const parent = (at - 1) >> 1
    if (!before(timer, heap[parent]!)) break
    heap[at] = heap[parent]!
    at = parent
  }
  heap[at] = timer
}

const pop = (heap: Array<Timer>): Timer | undefined => {
  const first = heap[0]
  const last = heap.pop()
  if (first === undefined || last === undefined || heap.length === 0) return first
  let at = 0
  for (;;) {
    let child = 2 * at + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
    if (!before(heap[child]!, last)) break
    heap[at] = heap[child]!
    at = child
  }
  heap[at] = last
  return first
}
