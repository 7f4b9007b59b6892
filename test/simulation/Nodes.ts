/**
 * Several engines over one archive and one cache, each with a log of its own: they write the same ids, die, stand still,
 * start again and find each other's rows. No node hears of another's writes, so a reader may see what another node has
 * replaced; what is promised all the same is checked here: nothing acknowledged is lost, nothing is read that nobody
 * wrote, nothing that the archive holds is denied, what is refused or takes long has a reason, and in calm all agree.
 */
import { Effect, Option } from "effect"
import { MerkleTree } from "../../src/merkle/MerkleTree.js"
import { compareVersions, type ItemRecord } from "../../src/SyncItem.js"
import { Chance } from "./Chance.js"
import { headText } from "./Model.js"
import { Node } from "./Node.js"
import { NodeClients } from "./NodeClients.js"
import { NodeTroubles } from "./NodeTroubles.js"
import { type Settings, settingsOf } from "./Settings.js"
import { Turns } from "./Turns.js"
import { World } from "./World.js"

export interface NodesOutcome {
  readonly seed: number
  readonly violation: string | undefined
  readonly trace: ReadonlyArray<string>
  /** What happened: nothing is proven by what never did. */
  readonly seen: {
    readonly calls: number
    readonly crashes: number
    readonly pauses: number
    readonly failovers: number
    /** Reads that found nothing, and were judged. */
    readonly absent: number
    /** Of these, how many a trusted filter denied. */
    readonly denied: number
    /** How often a node's filter came to be trusted, and how often it ceased to be while the node lived. */
    readonly leases: number
    readonly lost: number
    /** Commits that were refused because another node was the only writer. */
    readonly held: number
  }
}

const mostTurns = 600_000
const calmMs = 60_000

/** What one node needs to be simulated beside others. */
const settingsFor = (chance: Chance): Settings => {
  const settings = settingsOf(chance)
  return {
    ...settings,
    hasArchive: true,
    cdc: false,
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

class Run {
  readonly turns: Turns
  readonly nodes: ReadonlyArray<Node>
  readonly troubles: NodeTroubles
  readonly clients: NodeClients
  private readonly seldomTogether: boolean

  constructor(readonly chance: Chance) {
    const first = settingsFor(chance)
    this.turns = new Turns(chance, first.fifo, first.yieldChance)
    const count = chance.between(2, 3)
    const worlds: Array<World> = []
    for (let index = 0; index < count; index++) {
      const settings =
        index === 0 ? first : { ...settingsFor(chance), ids: first.ids, hasCache: first.hasCache }
      worlds.push(new World(chance, this.turns, settings, worlds[0], `node ${index + 1}`))
    }
    for (const world of worlds) world.sharesArchive = true
    this.nodes = worlds.map((world) => new Node(world))
    this.seldomTogether = chance.bool(0.6)
    this.troubles = new NodeTroubles(chance, this.nodes, this.seldomTogether)
    this.clients = new NodeClients(chance, this.nodes)
    this.world.onRow = (record) => this.checkDenials(record)
  }

  get world(): World {
    return this.nodes[0]!.world
  }

  begin(): void {
    if (this.seldomTogether) this.chance.pick(this.nodes).begin()
    else for (const node of this.nodes) if (this.chance.bool(0.8)) node.begin()
  }

  /** Promise 6, at the instant at which it could break: whoever trusts its filter knows what the archive takes. */
  private checkDenials({ deleted, id }: ItemRecord): void {
    if (deleted) return
    for (const node of this.nodes) {
      this.world.violations.require(
        !node.denies(id) || node.world.disk.entries.some(({ record }) => record.id === id && record.deleted),
        () => `${node.name} would deny ${id}, which the archive has just taken`
      )
    }
  }

  step(): boolean {
    const { violations } = this.world
    if (violations.first !== undefined) return false
    if (!this.turns.next()) violations.report("nothing can run any more")
    if (this.turns.count > mostTurns) violations.report(`still busy after ${mostTurns} turns`)
    this.clients.look()
    return violations.first === undefined
  }

  until(holds: () => boolean, ms: number): void {
    const end = this.turns.now + ms
    this.turns.after(ms, this.world.self, () => {})
    while (!holds() && this.turns.now < end && this.step()) {}
  }

  calm(): void {
    const { nodes, turns, world } = this
    this.clients.giveUp()
    for (const node of nodes) {
      node.world.calm = true
      node.world.archiveDown = false
    }
    world.note("--- calm")
    const paused = Math.max(...nodes.map(({ life }) => life?.process.pausedUntil ?? 0)) - turns.now
    this.until(() => {
      for (const node of nodes) if (node.life === undefined) node.begin()
      return nodes.every(({ idle, started, world }) => idle && started && world.disk.entries.length === 0)
    }, calmMs + Math.max(0, paused))
  }

  judge(): void {
    const { archive, cache, settings, violations } = this.world
    for (const { idle, name, started, world } of this.nodes) {
      violations.require(
        idle && started && world.disk.entries.length === 0,
        () =>
          `${name} has not come to rest ${calmMs} ms after the troubles: ${world.disk.entries.length} entries in the log`
      )
    }
    for (const head of this.clients.acknowledged) {
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
    for (const id of [...settings.ids, ...this.clients.lastOnce()]) this.allRead(id)
    if (!settings.hasCache || violations.first !== undefined) return
    const trusting = () =>
      this.nodes.every(({ life }) => life && Effect.runSync(life.service.health).cache.trusted)
    const equal = () => Effect.runSync(cache.model.root) === archive.tree.root
    // A node that missed a write there knows it, and repairs it; until then another one may trust the cache. What the
    // cache has lost unnoticed is found by the next comparison.
    this.until(() => trusting() && equal(), calmMs)
    violations.require(trusting(), () => `no trust in the cache ${calmMs} ms after the troubles`)
    violations.require(equal(), () => "in calm the nodes trust a cache whose root is not the archive's")
  }

  /** In calm every node reads what the archive holds. */
  private allRead(id: string): void {
    const stored = this.world.archive.records.get(id)
    const expected =
      stored === undefined || stored.deleted ? "absent" : Buffer.from(stored.content).toString()
    for (const node of this.nodes) {
      if (node.life === undefined) continue
      node.call(`getVerified ${id}`, node.life.service.getVerified(id), (found) => {
        const seen = Option.match(found, {
          onNone: () => "absent",
          onSome: ({ content }) => Buffer.from(content).toString()
        })
        this.world.violations.require(
          seen === expected,
          () => `in calm ${node.name} reads ${seen} of ${id}, not ${expected}`
        )
        return seen
      })
    }
    this.until(() => this.nodes.every(({ idle }) => idle), 30_000)
    this.world.violations.require(
      this.nodes.every(({ idle }) => idle),
      () => `in calm ${id} could not be read`
    )
  }

  outcome(seed: number): NodesOutcome {
    const { nodes, world } = this
    const { absent, calls, denied } = this.clients
    const { crashes, failovers, pauses } = this.troubles
    const sum = (of: (node: Node) => number) => nodes.reduce((total, node) => total + of(node), 0)
    return {
      seed,
      violation: world.violations.first,
      trace: world.trace,
      seen: {
        calls,
        crashes,
        pauses,
        failovers,
        absent,
        denied,
        leases: sum(({ leases }) => leases),
        lost: sum(({ lost }) => lost),
        held: sum(({ name }) => world.faults.count(name, "held"))
      }
    }
  }
}

export const simulateNodes = (seed: number): NodesOutcome => {
  const chance = new Chance(seed)
  const run = new Run(chance)
  run.begin()
  const operations = chance.between(40, 120)
  const troubles = chance.pick([0, 0.03, 0.1])
  for (let n = 0; n < operations; n++) {
    run.until(
      () => false,
      chance.weighted([
        [3, 0],
        [3, 2],
        [3, 30],
        [3, 300],
        [1, 4000]
      ])
    )
    if (chance.bool(0.1)) run.troubles.replicate()
    if (chance.bool(troubles)) run.troubles.one()
    for (const node of run.nodes) node.look()
    for (let more = chance.between(1, 3); more > 0; more--) run.clients.call()
  }
  run.calm()
  if (run.world.violations.first === undefined) run.judge()
  return run.outcome(seed)
}
