/** A simulation: some lives of an engine in one world, all drawn from one seed, judged by the model. */
import { createHash } from "node:crypto"
import { Effect, Exit } from "effect"
import { MerkleTree } from "../../src/merkle/MerkleTree.js"
import { compareVersions } from "../../src/SyncItem.js"
import { Chance } from "./Chance.js"
import { Clients } from "./Clients.js"
import * as Life from "./Life.js"
import { headText } from "./Model.js"
import * as Operations from "./Operations.js"
import { type Settings, settingsOf } from "./Settings.js"
import { ShutdownCalls } from "./ShutdownCalls.js"
import { Troubles } from "./Troubles.js"
import { Turns } from "./Turns.js"
import { World } from "./World.js"

export interface Outcome {
  readonly seed: number
  readonly settings: Settings
  /** The first broken promise, if any. */
  readonly violation: string | undefined
  readonly trace: ReadonlyArray<string>
  /** Hash over the trace, the turns and the generator: equal for equal seeds. */
  readonly fingerprint: string
  readonly turns: number
  readonly calls: number
  readonly simulatedMs: number
}

/** More turns than any simulation needs: somebody runs in circles without time passing. */
const mostTurns = 300_000
/** How long the engine gets to bring everything into order once the troubles are over. */
const calmMs = 8000
/** And to prove what it trusts: a dead process's lease has to run out. */
const provenMs = 60_000
/** A duty that has not moved for so long, and does not wait for its time, hangs. */
const hangingMs = 8000

/** With `change`, in a world that is simpler than the seed's. */
export const simulate = (seed: number, change: Partial<Settings> = {}): Outcome => {
  const chance = new Chance(seed)
  const settings = { ...settingsOf(chance), ...change }
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
    settings,
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
    world.provenAt = Number.POSITIVE_INFINITY
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
        if (Exit.isSuccess(exit)) world.hand("ready")
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
    if (settings.cdc && settings.hasArchive && settings.hasCache) world.feed.check()
    if (!this.proven(alive, life)) return false
    world.provenAt = turns.now
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

  /** No duty hangs; filter and cache come to be trusted by themselves, and the cache is what the archive is. */
  private proven(alive: (until: () => boolean, what: string) => boolean, life: Life.Life): boolean {
    const { archive, cache, settings, turns, violations } = this.world
    const seenAt = turns.now + 1.5 * hangingMs
    turns.after(seenAt - turns.now, life.process, () => {})
    if (!alive(() => turns.now >= seenAt, "the duties")) return false
    const hanging = life.duties.hanging(hangingMs)
    violations.require(hanging.length === 0, () => `hanging in calm: ${hanging.join(", ")}`)
    if (!settings.hasArchive) return true
    turns.after(provenMs, life.process, () => {})
    const trusted = () => {
      const health = Effect.runSync(life.service.health)
      return health.filter.trusted && (health.cache.trusted || !settings.hasCache)
    }
    const until = turns.now + provenMs
    if (!alive(() => turns.now >= until || trusted(), "the proofs")) return false
    violations.require(trusted(), () => {
      const { cache, filter } = Effect.runSync(life.service.health)
      return `not trusted ${provenMs} ms after the calm: ${JSON.stringify({ cache, filter })}`
    })
    violations.require(
      !settings.hasCache || Effect.runSync(cache.model.root) === archive.tree.root,
      () => "in calm the cache's root is not the archive's"
    )
    return violations.first === undefined
  }
}

const failedStart = (starts: ReadonlyArray<Exit.Exit<void, unknown>>): boolean => starts.some(Exit.isFailure)
