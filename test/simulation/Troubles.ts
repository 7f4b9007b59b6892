/** The troubles of a simulated world. */
import type * as Life from "./Life.js"
import type { World } from "./World.js"

/** What goes wrong around the engine while it lives, and what its operators do. */
export class Troubles {
  private ended = false

  constructor(
    private readonly world: World,
    private readonly life: Life.Life
  ) {}

  begin(): void {
    this.later()
  }

  end(): void {
    const { life, world } = this
    this.ended = true
    world.calm = true
    world.archiveDown = false
    world.heal()
    world.stopLogFaults()
    world.cache.control.setAvailable(true)
    if (life.config().readOnly) life.changeConfig({ readOnly: false })
  }

  private later(): void {
    const { chance, turns } = this.world
    turns.after(chance.between(5, 400), this.life.process, () => {
      if (this.ended) return
      this.one()
      this.later()
    })
  }

  private one(): void {
    const { life, world } = this
    const { chance, settings, turns } = world
    const choices: Array<readonly [number, () => void]> = [[1, () => {}]]
    if (settings.outages) {
      choices.push([
        2,
        () => {
          world.archiveDown = !world.archiveDown
          world.note(world.archiveDown ? "the archive goes down" : "the archive is back")
        }
      ])
    }
    if (settings.hasCache && settings.cacheTroubles) {
      choices.push([2, () => this.cacheTrouble()])
    }
    if (settings.logFaults) {
      choices.push([
        2,
        () => {
          const kind = chance.pick(["commits", "reads", "writes"] as const)
          const count = chance.between(1, 3)
          world.note(`the next ${count} ${kind} of the log fail`)
          world.failLog(kind, count)
        }
      ])
    }
    if (settings.poison) {
      choices.push([
        1,
        () => {
          if (chance.bool(0.5)) world.poisonIds.add(chance.pick(settings.ids))
          else world.heal()
          world.note(`refused for good: ${[...world.poisonIds].join(",")}`)
        }
      ])
    }
    if (settings.configChanges) {
      choices.push([
        2,
        () => {
          const change = chance.pick([
            { l1MaxBytes: chance.pick([0, 1500, 1 << 20]) },
            { batchFlushCount: chance.pick([1, 5, 500]) },
            { batchFlushBytes: chance.pick([1, 1000, 1 << 20]) },
            { batchFlushInterval: chance.pick([10, 300]) },
            { walDrainInterval: chance.pick([200, 1500]) },
            { readOnly: chance.bool(0.5) }
          ])
          world.note(`configuration: ${JSON.stringify(change)}`)
          life.changeConfig(change)
        }
      ])
    }
    if (settings.clockSteps) {
      choices.push([
        0.5,
        () => {
          const step = chance.pick([-2000, -50, 3000])
          world.note(`the clock steps by ${step} ms`)
          turns.wallOffset += step
        }
      ])
    }
    choices.push([
      0.1,
      () => {
        world.note("drain")
        world.hand("drain")
        life.run(life.service.drain, () => {})
      }
    ])
    chance.weighted(choices)()
  }

  private cacheTrouble(): void {
    const { cache, chance, settings } = this.world
    const { control, model } = cache
    const isThere = model.status().connection === "connected"
    const id = chance.pick(settings.ids)
    const [what, trouble] = chance.weighted<readonly [string, () => void]>([
      [3, [isThere ? "goes down" : "is back", () => control.setAvailable(!isThere)]],
      [1, ["loses everything", control.flushAll]],
      [2, [`holds damaged bytes of ${id}`, () => control.corrupt(id)]]
    ])
    this.world.note(`the cache ${what}`)
    trouble()
  }
}
