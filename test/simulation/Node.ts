/** One of several nodes: its log, its lives, and what clients ask of it. */
import { Cause, Effect, Exit } from "effect"
import * as MemoryLog from "../../src/wal/MemoryLog.js"
import type { Call } from "./Call.js"
import { checkCause, checkTime } from "./Errors.js"
import * as Life from "./Life.js"
import type { World } from "./World.js"

export class Node {
  life: Life.Life | undefined
  started = false
  /** Its filter was trusted when it was looked at last. */
  private trusted = false
  /** How often its filter came to be trusted, and how often that ended while it lived. */
  leases = 0
  lost = 0
  private readonly underWay = new Set<Call>()

  constructor(readonly world: World) {}

  get name(): string {
    return this.world.name
  }

  get idle(): boolean {
    return this.underWay.size === 0
  }

  begin(): void {
    const { name, world } = this
    const mark = world.faults.mark
    const life = Life.begin(
      world,
      MemoryLog.layerMemory({ disk: world.disk, commitDelay: world.commitDelay })
    )
    this.life = life
    world.note(`${name} starts`)
    life.run(life.engine.start, (exit) => {
      this.started = Exit.isSuccess(exit)
      if (Exit.isSuccess(exit)) return world.hand("ready")
      const why = Cause.pretty(exit.cause).split("\n", 1)[0]
      world.note(`${name} did not start: ${why}`)
      world.violations.require(
        world.faults.since(mark, name, "archive", "log", "shutdown"),
        () => `${name} did not start without a reason: ${why}`
      )
      this.gone()
    })
  }

  crash(): void {
    this.world.note(`${this.name} dies`)
    this.gone()
  }

  /** It is asked to end, and leaves the writers' register. */
  stop(): void {
    const { life, world } = this
    if (life === undefined || !this.started) return
    world.note(`${this.name} is asked to stop`)
    world.hand("shutdown")
    this.started = false
    life.run(life.engine.shutdown, (exit) => {
      if (Exit.isFailure(exit)) world.violations.report(`a shutdown failed: ${Cause.pretty(exit.cause)}`)
      world.note(`${this.name} has stopped`)
      this.gone()
    })
  }

  /** Stands still; everything that was asked of it or is on its way to it waits. */
  pause(ms: number): void {
    const { life, world } = this
    if (life === undefined) return
    world.note(`${this.name} stands still for ${ms} ms`)
    world.hand("pause", ms)
    life.process.pausedUntil = world.turns.now + ms
  }

  private gone(): void {
    const { life, world } = this
    if (life === undefined) return
    life.process.alive = false
    this.life = undefined
    this.started = false
    this.trusted = false
    this.underWay.clear()
    world.heldSince = undefined
    MemoryLog.crash(world.disk)
  }

  /** Looks whether its filter is trusted. */
  look(): void {
    if (this.life === undefined || !this.started) return
    const { trusted } = Effect.runSync(this.life.service.health).filter
    if (trusted && !this.trusted) this.leases++
    if (!trusted && this.trusted) this.lost++
    this.trusted = trusted
  }

  /** It would deny the id now, without asking the archive. */
  denies(id: string): boolean {
    if (this.life === undefined || !this.started) return false
    const said = Effect.runSyncExit(this.life.service.definitelyMissing(id))
    return Exit.isSuccess(said) && said.value
  }

  /** A call of a client. */
  call<A>(text: string, effect: Effect.Effect<A, unknown>, judge: (value: A) => string): void {
    const { world } = this
    const life = this.life!
    const { phase } = life.lifecycle.unsafeSnapshot()
    const degraded = Effect.runSync(life.service.health).degraded
    const call = world.begin(
      (number) => `${this.name}.${number} ${text}`,
      undefined,
      phase,
      false,
      degraded.some(({ component }) => component === "log")
    )
    this.underWay.add(call)
    world.note(call.text)
    life.run(effect, (exit) => {
      this.underWay.delete(call)
      world.calls.delete(call.number)
      checkTime(world, call)
      if (Exit.isSuccess(exit)) world.note(`${call.text} -> ${judge(exit.value)}`)
      else {
        world.note(`${call.text} -> ${failureOf(exit.cause)}`)
        checkCause(world, life, call, exit.cause)
      }
    })
  }
}

export const failureOf = (cause: Cause.Cause<unknown>): string =>
  cause._tag === "Fail" ? (cause.error as { readonly _tag: string })._tag : cause._tag
