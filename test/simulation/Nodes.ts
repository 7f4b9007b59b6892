/**
 * Several engines over one archive and one cache, each with a log of its own: they write the same ids, die, start again
 * and find each other's rows. No node hears of another's writes, so a reader may see what another node has replaced;
 * what is promised all the same is checked here: nothing acknowledged is lost, nothing is read that nobody wrote, nothing
 * that the archive holds is denied, and in calm all agree.
 */
import { Cause, Effect, Exit, Option } from "effect"
import { MerkleTree } from "../../src/merkle/MerkleTree.js"
import { compareVersions, type ItemHead } from "../../src/SyncItem.js"
import * as MemoryLog from "../../src/wal/MemoryLog.js"
import { Chance } from "./Chance.js"
import * as Life from "./Life.js"
import { headText } from "./Model.js"
import { type Settings, settingsOf } from "./Settings.js"
import { Turns } from "./Turns.js"
import { World } from "./World.js"

export interface NodesOutcome {
  readonly seed: number
  readonly violation: string | undefined
  readonly trace: ReadonlyArray<string>
  readonly calls: number
  readonly crashes: number
  /** Reads that found nothing, and were judged. */
  readonly denied: number
}

const mostTurns = 600_000
const calmMs = 60_000

/** What one node needs to be simulated beside others. */
const settingsFor = (chance: Chance): Settings => {
  const settings = settingsOf(chance)
  return {
    ...settings,
    hasArchive: true,
    poison: false,
    logFaults: false,
    memoryDurability: false,
    interruptions: false,
    configChanges: false,
    smallLog: false,
    ids: settings.ids.slice(0, 5),
    config: {
      ...settings.config,
      walMaxItems: 1_000_000,
      walMaxBytes: 1024 ** 3,
      shutdownDelay: 0,
      readOnly: false
    }
  }
}

interface Reading {
  readonly node: Node
  readonly id: string
  /** At some instant of the call, not to find it was right. */
  mayBeAbsent: boolean
}

class Node {
  life: Life.Life | undefined
  started = false

  constructor(
    readonly name: string,
    readonly world: World
  ) {}

  begin(): void {
    const { world } = this
    const life = Life.begin(
      world,
      MemoryLog.layerMemory({ disk: world.disk, commitDelay: world.commitDelay })
    )
    this.life = life
    this.started = false
    world.note(`${this.name} starts`)
    life.run(life.engine.start, (exit) => {
      this.started = Exit.isSuccess(exit)
      if (Exit.isFailure(exit)) {
        world.note(`${this.name} did not start: ${Cause.pretty(exit.cause).split("\n", 1)[0]}`)
        life.process.alive = false
        MemoryLog.crash(world.disk)
        this.life = undefined
      }
    })
  }

  crash(): void {
    const { life, world } = this
    if (life === undefined) return
    world.note(`${this.name} dies`)
    life.process.alive = false
    MemoryLog.crash(world.disk)
    this.life = undefined
  }
}

class Run {
  readonly turns: Turns
  readonly nodes: ReadonlyArray<Node>
  readonly acknowledged: Array<ItemHead> = []
  readonly contents = new Map<string, Set<string>>()
  readonly readings = new Set<Reading>()
  calls = 0
  underWay = 0
  crashes = 0
  denied = 0

  constructor(readonly chance: Chance) {
    const first = settingsFor(chance)
    this.turns = new Turns(chance, first.fifo, first.yieldChance)
    const count = chance.between(2, 3)
    const worlds: Array<World> = []
    for (let index = 0; index < count; index++) {
      const settings =
        index === 0 ? first : { ...settingsFor(chance), ids: first.ids, hasCache: first.hasCache }
      worlds.push(new World(chance, this.turns, settings, worlds[0]))
    }
    this.nodes = worlds.map((world, index) => new Node(`node ${index + 1}`, world))
  }

  get world(): World {
    return this.nodes[0]!.world
  }

  step(): boolean {
    const { violations } = this.world
    if (violations.first !== undefined) return false
    if (!this.turns.next()) violations.report("nothing can run any more")
    if (this.turns.count > mostTurns) violations.report(`still busy after ${mostTurns} turns`)
    for (const reading of this.readings) if (this.mayBeAbsent(reading)) reading.mayBeAbsent = true
    return violations.first === undefined
  }

  until(holds: () => boolean, ms: number): void {
    const end = this.turns.now + ms
    this.turns.after(ms, this.world.self, () => {})
    while (!holds() && this.turns.now < end && this.step()) {}
  }

  mayBeAbsent({ id, node }: Reading): boolean {
    const stored = this.world.archive.records.get(id)
    return (
      stored === undefined ||
      stored.deleted ||
      node.world.disk.entries.some(({ record }) => record.id === id && record.deleted)
    )
  }

  /** One call of some client of some node. */
  call(): void {
    const { chance } = this
    const node = chance.pick(this.nodes)
    const { life, world } = node
    if (life === undefined || !node.started) return
    const id = chance.pick(world.settings.ids)
    const number = ++this.calls
    const { service } = life
    const kind = chance.weighted([
      [5, "put"],
      [2, "delete"],
      [6, "get"],
      [1, "getVerified"]
    ] as const)
    const durability = chance.bool(0.3) ? "archive" : "wal"
    this.underWay++
    world.note(`#${number} ${node.name} ${kind} ${id}`)
    const ended = <A>(exit: Exit.Exit<A, unknown>, judge: (value: A) => string) => {
      this.underWay--
      world.note(`#${number} -> ${Exit.isSuccess(exit) ? judge(exit.value) : failureOf(exit.cause)}`)
      if (Exit.isFailure(exit) && !Cause.isFailType(exit.cause) && !Cause.isInterrupted(exit.cause)) {
        world.violations.report(`#${number} died: ${Cause.pretty(exit.cause)}`)
      }
    }
    if (kind === "put" || kind === "delete") {
      const content = `"#${number}"`
      if (kind === "put") this.contents.set(id, (this.contents.get(id) ?? new Set()).add(content))
      const write =
        kind === "put" ? service.submit({ id, content }, { durability }) : service.delete(id, { durability })
      life.run(write, (exit) =>
        ended(exit, ({ contentHash, version }) => {
          this.acknowledged.push({ id, version, contentHash, deleted: kind === "delete" })
          return String(version)
        })
      )
      return
    }
    const reading: Reading = { node, id, mayBeAbsent: false }
    reading.mayBeAbsent = this.mayBeAbsent(reading)
    this.readings.add(reading)
    life.run(kind === "get" ? service.get(id) : service.getVerified(id), (exit) => {
      if (this.mayBeAbsent(reading)) reading.mayBeAbsent = true
      this.readings.delete(reading)
      ended(exit, (found) => {
        if (Option.isNone(found)) {
          this.denied++
          world.violations.require(
            reading.mayBeAbsent,
            () => `#${number} ${node.name} denied ${id}, which the archive held all the time`
          )
          return "absent"
        }
        const text = Buffer.from(found.value.content).toString()
        world.violations.require(
          this.contents.get(id)?.has(text) === true,
          () => `#${number} ${node.name} read ${text} of ${id}, which nobody wrote`
        )
        return text
      })
    })
  }

  trouble(): void {
    const { chance } = this
    const node = chance.pick(this.nodes)
    if (node.life === undefined) {
      node.begin()
      return
    }
    const { world } = node
    chance.weighted<() => void>([
      [
        2,
        () => {
          this.crashes++
          node.crash()
        }
      ],
      [
        1,
        () => {
          world.archiveDown = !world.archiveDown
          world.note(`${node.name}: the archive is ${world.archiveDown ? "out of reach" : "back"}`)
        }
      ],
      [
        world.settings.clockSteps ? 1 : 0,
        () => {
          this.turns.wallOffset += chance.pick([-2000, 3000])
        }
      ],
      [world.settings.hasCache ? 1 : 0, () => this.world.cache.control.flushAll()]
    ])()
  }

  calm(): void {
    for (const { world } of this.nodes) {
      world.calm = true
      world.archiveDown = false
    }
    this.world.note("--- calm")
    this.until(() => {
      for (const node of this.nodes) if (node.life === undefined) node.begin()
      return (
        this.underWay === 0 &&
        this.nodes.every(({ started, world }) => started && world.disk.entries.length === 0)
      )
    }, calmMs)
  }

  judge(): void {
    const { archive, cache, settings, violations } = this.world
    for (const { name, world } of this.nodes) {
      violations.require(
        world.disk.entries.length === 0,
        () => `${world.disk.entries.length} entries are in the log of ${name} ${calmMs} ms after the troubles`
      )
    }
    for (const head of this.acknowledged) {
      const stored = archive.records.get(head.id)
      violations.require(
        stored !== undefined && compareVersions(stored, head) >= 0,
        () => `acknowledged ${head.id} ${headText(head)} is lost: the archive holds ${headText(stored)}`
      )
    }
    violations.require(
      MerkleTree.from(archive.live()).root === archive.tree.root,
      () => "root and rows differ"
    )
    for (const node of this.nodes) {
      for (const id of settings.ids) {
        const stored = archive.records.get(id)
        const expected =
          stored === undefined || stored.deleted ? "absent" : Buffer.from(stored.content).toString()
        let seen: string | undefined
        this.underWay++
        node.life!.run(node.life!.service.getVerified(id), (exit) => {
          this.underWay--
          seen = Exit.isSuccess(exit)
            ? Option.match(exit.value, {
                onNone: () => "absent",
                onSome: ({ content }) => Buffer.from(content).toString()
              })
            : failureOf(exit.cause)
        })
        this.until(() => this.underWay === 0, 30_000)
        violations.require(
          seen === expected,
          () => `in calm ${node.name} reads ${seen} of ${id}, not ${expected}`
        )
      }
    }
    if (!settings.hasCache) return
    const trusting = () => this.nodes.every(({ life }) => Effect.runSync(life!.service.health).cache.trusted)
    this.until(trusting, calmMs)
    // A node that missed a write there knows it, and repairs it; until then another one may trust the cache.
    violations.require(trusting(), () => `no trust in the cache ${calmMs} ms after the troubles`)
    violations.require(
      Effect.runSync(cache.model.root) === archive.tree.root,
      () => "in calm the nodes trust a cache whose root is not the archive's"
    )
  }
}

const failureOf = (cause: Cause.Cause<unknown>): string =>
  Option.match(Cause.failureOption(cause), {
    onNone: () => cause._tag,
    onSome: (error) => (error as { readonly _tag: string })._tag
  })

export const simulateNodes = (seed: number): NodesOutcome => {
  const chance = new Chance(seed)
  const run = new Run(chance)
  for (const node of run.nodes) if (chance.bool(0.8)) node.begin()
  const operations = chance.between(40, 160)
  const troubles = chance.pick([0, 0.02, 0.06])
  for (let n = 0; n < operations; n++) {
    const pause = chance.pick([0, 2, 30, 300])
    run.until(() => false, pause)
    if (chance.bool(troubles)) run.trouble()
    for (let more = chance.between(1, 3); more > 0; more--) run.call()
  }
  run.calm()
  if (run.world.violations.first === undefined) run.judge()
  const { calls, crashes, denied, world } = run
  return { seed, violation: world.violations.first, trace: world.trace, calls, crashes, denied }
}
