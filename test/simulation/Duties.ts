/** What an engine does by itself, without a caller: nothing of it may fail unexpectedly, hang or die unseen. */
import {
  Array as Arr,
  Cause,
  Effect,
  type Exit,
  type Fiber,
  FiberRef,
  HashMap,
  Logger,
  LogLevel,
  Option,
  Supervisor
} from "effect"
import type { Process } from "./Turns.js"
import type { World } from "./World.js"

type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

/** Duties that wait for something to do, for as long as that takes. */
const waiting = new Set(["flush on demand", "cache follow", "lost writes"])

/** What the log is for: acknowledged at `memory`, and then not committed. */
const isLoss = (message: string): boolean => message.startsWith("the log did not take what was acknowledged")

/** Hears what is logged: a defect, or an error that is no news of a tier, breaks the promise that nothing fails unseen. */
export const listening = (world: World): Logger.Logger<unknown, void> =>
  Logger.make(({ cause, logLevel, message }) => {
    const text = Arr.ensure(message).map(String).join(" ")
    world.note(`log: ${logLevel.label} ${text}`)
    const isDefect = [...Cause.defects(cause)].length > 0
    if (!isDefect && (LogLevel.lessThan(logLevel, LogLevel.Error) || isLoss(text))) return
    world.violations.report(
      `the engine logged: ${logLevel.label} ${text}${Cause.isEmpty(cause) ? "" : `\n${Cause.pretty(cause)}`}`
    )
  })

/** Watches the fibers of the engine's duties. */
export class Duties extends Supervisor.AbstractSupervisor<void> {
  private readonly fibers = new Set<AnyFiber>()
  private readonly movedAt = new Map<AnyFiber, number>()

  constructor(
    private readonly world: World,
    private readonly process: Process
  ) {
    super()
  }

  override get value(): Effect.Effect<void> {
    return Effect.void
  }

  override onStart<A, E, R>(
    _context: unknown,
    _effect: Effect.Effect<A, E, R>,
    _parent: Option.Option<AnyFiber>,
    fiber: Fiber.RuntimeFiber<A, E>
  ): void {
    this.fibers.add(fiber as AnyFiber)
  }

  override onEnd<A, E>(_exit: Exit.Exit<A, E>, fiber: Fiber.RuntimeFiber<A, E>): void {
    this.fibers.delete(fiber as AnyFiber)
    this.movedAt.delete(fiber as AnyFiber)
  }

  override onResume<A, E>(fiber: Fiber.RuntimeFiber<A, E>): void {
    this.movedAt.set(fiber as AnyFiber, this.world.turns.now)
  }

  /** The duties that have not moved for so long, and do not wait for their time either. */
  hanging(milliseconds: number): ReadonlyArray<string> {
    if (!this.process.alive) return []
    return [...this.fibers].flatMap((fiber) => {
      const name = HashMap.get(fiber.getFiberRef(FiberRef.currentLogAnnotations), "fiber")
      if (Option.isNone(name) || waiting.has(String(name.value))) return []
      const still = this.world.turns.now - (this.movedAt.get(fiber) ?? 0)
      return still >= milliseconds && !this.world.turns.sleeping.has(fiber) ? [String(name.value)] : []
    })
  }
}
