/**
 * Several nodes, one archive, a network that loses, delays and reorders, processes that die at any moment, clocks
 * that run apart: whatever happens in whatever order, no trusted filter denies what is stored.
 */
import { describe, expect, it } from "@effect/vitest"
import { type HeartbeatReply, MemoryWriters } from "../../src/archive/WriterLease.js"
import { reasons } from "../../src/filter/FilterTrust.js"
import { LeaseClient, type SentHeartbeat } from "../../src/filter/LeaseClient.js"
import { TrackedFilter, type TrackedWrite } from "../../src/filter/TrackedFilter.js"
import { contentHashOf } from "../../src/SyncItem.js"
import { atOnce } from "../support/atOnce.js"

const leaseMs = 10_000

/** Mulberry32 (T. Ettinger): small, seeded. */
const randomOf = (seed: number) => {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Ids and versions of the live items; the root stands for exactly these. */
class ModelArchive {
  readonly items = new Map<string, number>()
  readonly writers = new MemoryWriters()
  private version = 0

  private digest: string | undefined

  root(): string {
    this.digest ??= contentHashOf(
      Buffer.from(JSON.stringify([...this.items].sort(([a], [b]) => (a < b ? -1 : 1))))
    )
    return this.digest
  }

  commit(node: string, batch: ReadonlyArray<TrackedWrite>) {
    if (!this.writers.admits(node)) return undefined
    const before = this.root()
    for (const { deleted, id } of batch) {
      if (deleted) this.items.delete(id)
      else this.items.set(id, ++this.version)
    }
    this.digest = undefined
    return { before, after: this.root() }
  }
}

/** What is under way to the archive: may be carried out at any time or never, and answered or not. */
interface Message {
  readonly apply: () => void
}

interface Flight {
  readonly batch: ReadonlyArray<TrackedWrite>
  readonly commit: ReturnType<TrackedFilter["commitStarted"]>
  state: "sent" | "applied"
  result: { readonly before: string; readonly after: string } | undefined
}

interface Process {
  readonly filter: TrackedFilter
  readonly leaseClient: LeaseClient
  readonly flights: Set<Flight>
  asked: { readonly asked: SentHeartbeat; answer: HeartbeatReply | undefined } | undefined
  rebuild: { cursor: string | undefined; page: ReadonlyArray<string> | undefined } | undefined
  closed: boolean
}

interface Node {
  readonly name: string
  readonly rate: number
  readonly offset: number
  /** Survives the process, as the log and its snapshot do. */
  log: Array<TrackedWrite>
  snapshot: Uint8Array | undefined
  process: Process | undefined
}

interface Tally {
  trusted: number
  denied: number
  commits: number
  refused: number
  foreignSeen: number
  restored: number
  rebuilt: number
  handovers: number
}

class World {
  readonly archive = new ModelArchive()
  readonly messages: Array<Message> = []
  readonly nodes: ReadonlyArray<Node>
  readonly tally: Tally
  private now = 1_000_000
  /** For a while one node does most of what is done, and the network is as it should be. */
  private calm: Node | undefined
  private freshCount = 0

  constructor(
    private readonly random: () => number,
    nodes: number,
    tally: Tally
  ) {
    this.tally = tally
    this.nodes = Array.from({ length: nodes }, (_, index) => ({
      name: `node${index}`,
      rate: 0.9 + 0.2 * random(),
      offset: Math.floor(random() * 1e9),
      log: [],
      snapshot: undefined,
      process: undefined
    }))
  }

  private pick<A>(values: ReadonlyArray<A>): A | undefined {
    return values[Math.floor(this.random() * values.length)]
  }

  private chance(probability: number): boolean {
    return this.random() < probability
  }

  private clockOf({ offset, rate }: Node) {
    return {
      nanos: () => BigInt(Math.floor((this.now * rate + offset) * 1e6)),
      // Wall clocks are set to anything; what they say must not matter as long as the machine runs.
      millis: () => offset
    }
  }

  private start(node: Node): void {
    const filter = new TrackedFilter(this.clockOf(node))
    node.process = {
      filter,
      leaseClient: new LeaseClient(filter, node.name, leaseMs),
      flights: new Set(),
      asked: undefined,
      rebuild: undefined,
      closed: false
    }
    if (node.snapshot !== undefined) expect(filter.load(node.snapshot)).toBeUndefined()
    filter.beforeWrite(node.log)
  }

  private ask(process: Process): void {
    const asked = process.leaseClient.send(`f${++this.freshCount}`)
    const sent: NonNullable<Process["asked"]> = { asked, answer: undefined }
    process.asked = sent
    this.messages.push({
      apply: () => {
        const { others, token } = this.archive.writers.heartbeat(asked.request)
        const rows = [...this.archive.writers.rows.values()]
        if (rows.filter((row) => row.token !== undefined).length > 1) throw new Error("two sole writers")
        sent.answer = {
          token,
          others,
          root: this.archive.root(),
          entries: this.archive.items.size,
          topVersion: 0
        }
      }
    })
  }

  private takeAnswer(node: Node, process: Process): void {
    const { answer, asked } = process.asked!
    process.asked = undefined
    if (answer === undefined) return
    const covered = process.filter.trust.coveredRoot
    const { release } = process.leaseClient.returned(asked, answer)
    if (covered !== undefined && process.filter.trust.coveredRoot === undefined) this.tally.foreignSeen++
    if (release === undefined) return
    this.tally.handovers++
    this.messages.push({ apply: () => this.archive.writers.release({ node: node.name, token: release }) })
  }

  private commit(node: Node, process: Process): void {
    // Two batches at once, each taken from the head of what is not under way.
    const busy = new Set([...process.flights].flatMap(({ batch }) => batch))
    const batch = node.log.filter((write) => !busy.has(write)).slice(0, 1 + Math.floor(this.random() * 3))
    if (batch.length === 0 || process.flights.size >= 2) return
    const flight: Flight = {
      batch,
      commit: process.filter.commitStarted(batch),
      state: "sent",
      result: undefined
    }
    process.flights.add(flight)
    this.messages.push({
      apply: () => {
        flight.result = this.archive.commit(node.name, batch)
        flight.state = "applied"
        if (flight.result === undefined) this.tally.refused++
        else this.tally.commits++
      }
    })
  }

  private endCommit(node: Node, process: Process, flight: Flight): void {
    process.flights.delete(flight)
    if (flight.state === "applied" && flight.result !== undefined && this.chance(0.85)) {
      flight.commit.succeeded(flight.result.before, flight.result.after)
      node.log = node.log.filter((write) => !flight.batch.includes(write))
    } else flight.commit.failed()
  }

  private rebuildStep(node: Node, process: Process): void {
    const { filter } = process
    if (process.rebuild === undefined) {
      if (filter.beginRebuild(this.archive.items.size) !== undefined) return
      filter.addPage(node.log.filter(({ deleted }) => !deleted).map(({ id }) => id))
      process.rebuild = { cursor: undefined, page: undefined }
      return
    }
    const { cursor, page } = process.rebuild
    if (page === undefined) {
      const ids = [...this.archive.items.keys()].sort().filter((id) => cursor === undefined || id > cursor)
      process.rebuild = { cursor, page: ids.slice(0, 3) }
      return
    }
    if (page.length > 0) {
      if (filter.addPage(page)) process.rebuild = { cursor: page[page.length - 1]!, page: undefined }
      else {
        filter.abandonRebuild()
        process.rebuild = undefined
      }
      return
    }
    const refused = filter.finishRebuild()
    if (refused === reasons.late) return
    if (refused === undefined) this.tally.rebuilt++
    else filter.abandonRebuild()
    process.rebuild = undefined
  }

  private write(node: Node, process: Process): void {
    // Few ids, so that puts, deletions and the other node's writes meet.
    const write = { id: `k${Math.floor(this.random() * 14)}`, deleted: this.chance(0.4) }
    process.filter.beforeWrite([write])
    node.log.push(write)
  }

  private snapshot(node: Node, process: Process): void {
    const taken = process.filter.snapshot()
    if (typeof taken === "string") return
    node.snapshot = atOnce(taken.encode)
    taken.saved()
  }

  private leave(node: Node, process: Process): void {
    process.leaseClient.close()
    process.closed = true
    const token = process.leaseClient.rowToken
    this.messages.push({ apply: () => this.archive.writers.leave({ node: node.name, token }) })
  }

  private nodeStep(node: Node): void {
    const { process } = node
    if (process === undefined) {
      if (node === this.calm || this.chance(0.15)) this.start(node)
      return
    }
    const trustedBefore = process.filter.trusted()
    const dice = this.random()
    if (dice < 0.3) {
      if (process.asked === undefined) this.ask(process)
      // Patience ends now and then; the question stays under way.
      else if (process.asked.answer !== undefined || this.chance(0.1)) this.takeAnswer(node, process)
    } else if (dice < 0.42) this.write(node, process)
    else if (dice < 0.56) this.commit(node, process)
    else if (dice < 0.72) {
      const flight = this.pick([...process.flights])
      if (flight !== undefined && (flight.state === "applied" || this.chance(0.1))) {
        this.endCommit(node, process, flight)
      }
    } else if (dice < 0.9) this.rebuildStep(node, process)
    else if (dice < 0.94) this.snapshot(node, process)
    else if (dice < 0.955) {
      // One that is not heard of for long is down more often than not.
      if (!process.closed && this.chance(node === this.calm ? 0.05 : 0.6)) this.leave(node, process)
    } else if (dice < 0.98) {
      if (process.closed || this.chance(node === this.calm ? 0.05 : 0.5)) node.process = undefined
    }
    if (!trustedBefore && process.filter.trusted() && process.filter.status().insertsSinceSnapshot === 0) {
      this.tally.restored++
    }
  }

  step(): void {
    if (this.chance(0.004)) this.calm = this.chance(0.7) ? this.pick(this.nodes) : undefined
    const dice = this.random()
    if (dice < 0.12) this.now += this.random() * (this.chance(0.03) ? 1.5 * leaseMs : leaseMs / 20)
    else if (dice < 0.5 && this.messages.length > 0) {
      // Mostly in order, sometimes not; seldom lost, which is the same as late for ever.
      const index = this.chance(this.calm === undefined ? 0.7 : 0.99)
        ? 0
        : Math.floor(this.random() * this.messages.length)
      const [message] = this.messages.splice(index, 1)
      if (this.chance(0.95)) message!.apply()
    } else {
      const node = this.calm !== undefined && this.chance(0.93) ? this.calm : this.pick(this.nodes)
      if (node !== undefined) this.nodeStep(node)
    }
    this.check()
  }

  private check(): void {
    for (const { log, name, process } of this.nodes) {
      if (process === undefined) continue
      const { filter } = process
      if (!filter.trusted()) {
        if (!filter.mightExist("absent.everywhere")) throw new Error(`${name} denies without trust`)
        continue
      }
      this.tally.trusted++
      for (const id of this.archive.items.keys()) {
        if (!filter.mightExist(id)) throw new Error(`${name} denies the stored ${id}`)
      }
      for (const { deleted, id } of log) {
        if (!deleted && !filter.mightExist(id)) throw new Error(`${name} denies its own pending ${id}`)
      }
      if (!filter.mightExist("absent.everywhere")) this.tally.denied++
    }
  }
}

const emptyTally = (): Tally => ({
  trusted: 0,
  denied: 0,
  commits: 0,
  refused: 0,
  foreignSeen: 0,
  restored: 0,
  rebuilt: 0,
  handovers: 0
})

const explore = (nodes: number, seeds: number, steps: number, firstSeed: number): Tally => {
  const tally = emptyTally()
  for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
    const world = new World(randomOf(seed), nodes, tally)
    try {
      for (let step = 0; step < steps; step++) world.step()
    } catch (error) {
      throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  return tally
}

describe("filters of several nodes on one archive", () => {
  it("one node with crashes, lost answers and late commits: never denies what is stored", () => {
    const tally = explore(1, 120, 1_500, 1)
    expect(tally.denied).toBeGreaterThan(tally.trusted * 0.99)
    expect(tally.trusted).toBeGreaterThan(20_000)
    expect(tally.rebuilt).toBeGreaterThan(300)
    expect(tally.restored).toBeGreaterThan(20)
  })

  it("two nodes in every order that 400 seeds yield: never denies what is stored", () => {
    const tally = explore(2, 400, 1_500, 10_001)
    // Otherwise the promise would be kept by never being given, or never put to the test.
    expect(tally.trusted).toBeGreaterThan(20_000)
    expect(tally.commits).toBeGreaterThan(5_000)
    expect(tally.refused).toBeGreaterThan(500)
    expect(tally.foreignSeen).toBeGreaterThan(100)
    expect(tally.rebuilt).toBeGreaterThan(200)
    expect(tally.handovers).toBeGreaterThan(500)
  })

  it("three nodes: never denies what is stored", () => {
    const tally = explore(3, 150, 2_000, 50_001)
    expect(tally.trusted).toBeGreaterThan(2_000)
    expect(tally.refused).toBeGreaterThan(200)
  })
})
