/** A simulation: some lives of an engine in one world, all drawn from one seed, judged by the model. */
import { createHash } from "node:crypto"
import * as Exit from "effect/Exit"
import type { ShutdownReport } from "../../src/Lifecycle.js"
import { MerkleTree } from "../../src/merkle/MerkleTree.js"
import { compareVersions } from "../../src/SyncItem.js"
import type { Call } from "./Call.js"
import { Chance } from "./Chance.js"
import * as Checks from "./Checks.js"
import * as Life from "./Life.js"
import { headText } from "./Model.js"
import * as Operations from "./Operations.js"
import { settingsOf } from "./Settings.js"
import { Turns } from "./Turns.js"
import { World } from "./World.js"

export interface Outcome {
  readonly seed: number
  /** The first broken promise, if any. */
  readonly violation: string | undefined
  readonly trace: ReadonlyArray<string>
  /** Hash over the trace, the turns and the generator: equal for equal seeds. */
  readonly fingerprint: string
  readonly turns: number
  readonly calls: number
  readonly simulatedMs: number
}

/** No call may take longer than this, in simulated milliseconds. */
const patienceMs = 60_000
/** More turns than any simulation needs: somebody runs in circles without time passing. */
const mostTurns = 300_000
/** How long the engine gets to bring everything into order once the troubles are over. */
const calmMs = 8000
/** Turns after which a shutdown that was asked for has surely begun to count. */
const turnsToBegin = 200

export const simulate = (seed: number): Outcome => {
  const chance = new Chance(seed)
  const settings = settingsOf(chance)
  const turns = new Turns(chance, settings.fifo, settings.yieldChance)
  const world = new World(chance, turns, settings)
  const run = new Run(world)
  try {
    for (let life = 1; life <= settings.lives && world.violations.first === undefined; life++) {
      run.life(life === settings.lives)
    }
  } catch (error) {
    world.violations.report(
      `the simulation itself failed: ${error instanceof Error ? error.stack : String(error)}`
    )
  }
  const fingerprint = createHash("sha256")
    .update(world.trace.join("\n"))
    .update(`${turns.fingerprint} ${turns.count} ${chance.bits()}`)
    .digest("hex")
  return {
    seed,
    violation: world.violations.first,
    trace: world.trace,
    fingerprint,
    turns: turns.count,
    calls: run.callsMade,
    simulatedMs: turns.now
  }
}

class Run {
  callsMade = 0

  constructor(private readonly world: World) {}

  /** One life of the process; the last one ends in calm. */
  life(isLast: boolean): void {
    const { world } = this
    const { chance, settings, turns } = world
    if (settings.clockSteps) {
      turns.wallOffset += chance.pick([0, 5000, -1, -1000, -3_600_000])
    }
    world.calm = false
    world.making.clear()
    world.archiveDown = settings.outages && chance.bool(0.25)
    world.note(
      `--- start${world.archiveDown ? ", archive down" : ""}, log holds ${world.disk.entries.length}`
    )
    const life = Life.begin(world)
    const starts: Array<Exit.Exit<void, unknown>> = []
    const startCalls = chance.bool(0.1) ? 2 : 1
    for (let i = 0; i < startCalls; i++) {
      life.run(life.engine.start, (exit) => {
        starts.push(exit)
        world.note(`start ${Exit.isSuccess(exit) ? "done" : "failed"}`)
      })
    }
    const crashes = !isLast && chance.bool(settings.crashes)
    let turnsLeft = crashes ? chance.between(1, chance.pick([150, 1500, 6000])) : Number.POSITIVE_INFINITY
    const troubles = new Troubles(world, life)
    troubles.begin()
    const clients = new Clients(world, life, settings.operationsPerLife)
    clients.begin()
    const alive = (until: () => boolean, what: string): boolean => {
      const deadline = turns.now + 300_000
      while (!until()) {
        if (world.violations.first !== undefined) return false
        if (turnsLeft-- <= 0) return false
        if (!turns.next()) {
          world.violations.report(`nothing can run any more while waiting for ${what}`)
          return false
        }
        if (turns.count > mostTurns) {
          world.violations.report(`${what}: still busy after ${mostTurns} turns`)
          return false
        }
        clients.checkPatience()
        if (turns.now > deadline) {
          world.violations.report(`${what}: not within 300 simulated seconds`)
          return false
        }
      }
      return world.violations.first === undefined
    }
    const shutdown = new ShutdownCalls(world, life)
    // Some shutdowns begin while clients are at work, the others when they are through.
    const early = chance.bool(0.5) ? chance.int(settings.operationsPerLife + 1) : Number.POSITIVE_INFINITY
    let completed = alive(
      () => clients.through || clients.started >= early || failedStart(starts),
      "the clients"
    )
    const calm = completed && (isLast || chance.bool(0.2)) && !failedStart(starts)
    if (calm) {
      troubles.end()
      completed = alive(
        () => failedStart(starts) || (clients.through && starts.length === startCalls),
        "the clients"
      )
      completed &&= failedStart(starts) || this.calmDown(alive, life, clients)
    }
    if (completed) {
      shutdown.begin()
      completed = alive(
        () => shutdown.through && clients.idle && starts.length === startCalls,
        "the shutdown"
      )
    }
    this.callsMade += clients.started
    if (world.violations.first !== undefined) return
    if (!completed) {
      world.note("--- crash")
      world.crash(life.process)
      return
    }
    shutdown.check(calm && Exit.isSuccess(starts[0]!))
    world.note("--- stopped")
    world.exited(life.process)
  }

  /** With all troubles over, everything comes into order by itself; then archive, model and engine must agree. */
  private calmDown(
    alive: (until: () => boolean, what: string) => boolean,
    life: Life.Life,
    clients: Clients
  ): boolean {
    const { archive, disk, model, settings, turns, violations } = this.world
    const world = this.world
    world.note("--- calm")
    const until = turns.now + calmMs
    // Something has to be due at the end of the wait.
    turns.after(calmMs, life.process, () => {})
    if (!alive(() => turns.now >= until, "the calm")) return false
    if (settings.hasArchive) {
      violations.require(
        disk.entries.length === 0,
        () => `${disk.entries.length} entries are still in the log ${calmMs} ms after the troubles ended`
      )
      for (const id of model.ids) {
        for (const version of model.versionsOf(id)) {
          if (!version.committed || version.goneAt !== undefined) continue
          const stored = archive.records.get(id)
          violations.require(
            stored !== undefined && compareVersions(stored, version) >= 0,
            () => `in calm the archive holds ${headText(stored)} of ${id}, not ${headText(version)}`
          )
        }
      }
      violations.require(
        MerkleTree.from(archive.live()).root === archive.tree.root,
        () => "root and rows differ"
      )
    }
    model.checkDurable()
    const questions = settings.hasArchive ? [...Operations.everything(world, life)] : []
    for (const question of questions) clients.call(question)
    if (!alive(() => clients.idle, "the last questions")) return false
    const health = life.run(life.service.health, (exit) => {
      if (Exit.isFailure(exit)) return
      violations.require(
        exit.value.degraded.length === 0 || !settings.hasArchive,
        () =>
          `degraded in calm: ${exit.value.degraded.map(({ component, reason }) => `${component} (${reason})`).join(", ")}`
      )
    })
    return alive(() => health.unsafePoll() !== null, "health")
  }
}

const failedStart = (starts: ReadonlyArray<Exit.Exit<void, unknown>>): boolean => starts.some(Exit.isFailure)

/** Clients call one operation after the other, each at its own pace. */
class Clients {
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

  call(operation: Operations.Operation<unknown>, then: () => void = () => {}): void {
    const { life, world } = this
    const call = world.begin(
      () => operation.text,
      operation.intent,
      life.lifecycle.unsafeSnapshot().phase,
      life.config().readOnly
    )
    this.underWay.add(call)
    world.note(`#${call.number} ${operation.text}`)
    call.fiber = life.run(operation.effect(call), (exit) => {
      this.underWay.delete(call)
      world.model.tick++
      if (Exit.isSuccess(exit)) world.note(`#${call.number} -> ${operation.judge(call, exit.value)}`)
      else {
        world.note(
          `#${call.number} -> ${exit.cause._tag === "Fail" ? tagOf(exit.cause.error) : exit.cause._tag}`
        )
        Checks.checkCause(world, life, call, exit.cause)
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

/** What goes wrong around the engine while it lives, and what its operators do. */
class Troubles {
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
        life.run(life.service.drain, () => {})
      }
    ])
    chance.weighted(choices)()
  }
}

/** One to three callers ask for the shutdown. */
class ShutdownCalls {
  private readonly reports: Array<ShutdownReport> = []
  private callers = 0
  /** Entries that had left the log for the archive when the shutdown was asked for, and once it surely was under way. */
  private releasedBefore = 0
  private releasedLater = 0
  private turnsToCount = turnsToBegin
  private orderly = false
  private faults = 0

  constructor(
    private readonly world: World,
    private readonly life: Life.Life
  ) {}

  begin(): void {
    const { life, world } = this
    const { chance, model, turns } = world
    this.callers = chance.between(1, 3)
    world.note(`shutdown asked by ${this.callers}`)
    this.releasedBefore = model.releasedArchived
    this.orderly = life.lifecycle.acceptsQueries() && !model.isBetween
    this.faults = world.logFaults
    for (let caller = 0; caller < this.callers; caller++) {
      turns.after(caller === 0 ? 0 : chance.int(200), life.process, () => {
        life.run(life.engine.shutdown, (exit) => {
          if (Exit.isSuccess(exit)) this.reports.push(exit.value)
          else world.violations.report(`a shutdown failed: ${exit.cause._tag}`)
        })
      })
    }
  }

  /** Asked every turn. */
  get through(): boolean {
    if (this.turnsToCount > 0 && this.life.lifecycle.unsafeSnapshot().phase === "shutting_down") {
      this.turnsToCount--
      this.releasedLater = this.world.model.releasedArchived
    }
    return this.callers > 0 && this.reports.length === this.callers
  }

  /** Promise 10: the report is true, and everybody gets the same. */
  check(inCalm: boolean): void {
    const { life, world } = this
    const { disk, model, settings, violations } = world
    const report = this.reports[0]!
    const { itemsFlushed, itemsLeftInLog, problems } = report
    world.note(`report: ${itemsFlushed} flushed, ${itemsLeftInLog} left, ${problems.join("; ")}`)
    violations.require(
      this.reports.every((other) => other === report),
      () => "callers got different shutdown reports"
    )
    violations.require(
      itemsLeftInLog === disk.entries.length,
      () => `the report says ${itemsLeftInLog} are left in the log; the disk holds ${disk.entries.length}`
    )
    const archived = [...model.log.values()].every((version) => model.isArchived(version))
    violations.require(
      !report.flushedWal || archived,
      () => "the report says that all is flushed, but the log holds what the archive does not"
    )
    violations.require(
      report.flushedWal || disk.entries.length > 0,
      () => "the report says that something is not flushed, but the log is empty"
    )
    if (this.orderly && world.logFaults === this.faults) {
      const most = model.releasedArchived - this.releasedBefore
      const least = Math.min(most, model.releasedArchived - this.releasedLater)
      violations.require(
        itemsFlushed >= least && itemsFlushed <= most,
        () => `the report says ${itemsFlushed} flushed; ${least} to ${most} left the log for the archive`
      )
    }
    const { shutdownDelay, shutdownTimeout } = life.config()
    violations.require(
      report.durationMs <= shutdownDelay + shutdownTimeout + 1000 || settings.clockSteps,
      () => `the shutdown took ${report.durationMs} ms`
    )
    if (!inCalm || !settings.hasArchive) return
    violations.require(
      itemsLeftInLog === 0 && report.flushedWal && problems.length === 0 && report.finalCheckpoint,
      () => `a shutdown in calm was not clean: ${problems.join("; ")}`
    )
  }
}
