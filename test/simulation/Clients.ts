/** The callers of a simulated engine. */

import { Effect, Exit } from "effect"
import type { Call } from "./Call.js"
import { checkCause, checkTime } from "./Errors.js"
import type * as Life from "./Life.js"
import type { Operation } from "./Operation.js"
import * as Operations from "./Operations.js"
import type { World } from "./World.js"

/** No call may take longer than this, in simulated milliseconds. */
const patienceMs = 60_000

/** Clients call one operation after the other, each at its own pace. */
export class Clients {
  started = 0
  private readonly underWay = new Set<Call>()

  constructor(
    private readonly world: World,
    private readonly life: Life.Life,
    private readonly budget: number
  ) {}

  get idle(): boolean {
    return this.underWay.size === 0
  }

  /** All operations are done. */
  get through(): boolean {
    return this.started >= this.budget && this.idle
  }

  begin(): void {
    for (let client = 0; client < this.world.settings.clients; client++) this.pause()
  }

  private pause(): void {
    const { chance, settings, turns } = this.world
    turns.after(chance.int(settings.pauseMs + 1), this.life.process, () => {
      if (this.started >= this.budget || this.life.lifecycle.unsafeSnapshot().phase === "stopped") return
      this.started++
      this.call(Operations.draw(this.world, this.life), () => this.pause())
    })
  }

  call(operation: Operation<unknown>, then: () => void = () => {}): void {
    const { life, world } = this
    const call = world.begin(
      () => operation.text,
      operation.intent,
      life.lifecycle.unsafeSnapshot().phase,
      life.config().readOnly,
      Effect.runSync(life.service.health).degraded.some(({ component }) => component === "log")
    )
    this.underWay.add(call)
    world.note(`#${call.number} ${operation.text}`)
    call.fiber = life.run(operation.effect(call), (exit) => {
      this.underWay.delete(call)
      world.model.tick++
      checkTime(world, call)
      if (Exit.isSuccess(exit)) world.note(`#${call.number} -> ${operation.judge(call, exit.value)}`)
      else {
        world.note(
          `#${call.number} -> ${exit.cause._tag === "Fail" ? tagOf(exit.cause.error) : exit.cause._tag}`
        )
        checkCause(world, life, call, exit.cause)
      }
      world.calls.delete(call.number)
      then()
    })
    if (world.settings.interruptions && !world.calm && world.chance.bool(0.08)) {
      world.turns.after(world.chance.int(40), life.process, () => {
        if (!this.underWay.has(call)) return
        call.interrupted = true
        world.note(`#${call.number} is interrupted`)
        call.fiber!.unsafeInterruptAsFork(call.fiber!.id())
      })
    }
  }

  checkPatience(): void {
    const oldest = this.underWay.values().next().value
    if (oldest === undefined) return
    this.world.violations.require(
      this.world.turns.now - oldest.start.ms <= patienceMs,
      () => `#${oldest.number} (${oldest.text}) has not ended within ${patienceMs} ms`
    )
  }
}

const tagOf = (error: unknown): string =>
  typeof error === "object" && error !== null && "_tag" in error ? String(error._tag) : String(error)
