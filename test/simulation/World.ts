/**
 * The world around the engine: a disk, an archive and the troubles with both. They outlive the engine's process, of
 * which there is one at a time.
 */

import { Effect } from "effect"
import { MemoryArchiveState } from "../../src/archive/memory/MemoryArchive.js"
import type { Digest } from "../../src/merkle/Tree.js"
import { compareVersions, type ItemRecord } from "../../src/SyncItem.js"
import * as MemoryLog from "../../src/wal/MemoryLog.js"
import { Call, callOf, type Intent, indexOf } from "./Call.js"
import type { Chance } from "./Chance.js"
import { type FaultKind, Faults } from "./Faults.js"
import { Feed } from "./Feed.js"
import { type Floor, Model } from "./Model.js"
import type { Settings } from "./Settings.js"
import { SharedCache } from "./SharedCache.js"
import type { Process, Turns } from "./Turns.js"
import { Violations } from "./Violation.js"
import { WayToArchive } from "./WayToArchive.js"

export class World {
  readonly violations: Violations
  readonly disk = MemoryLog.makeDisk()
  readonly archive: MemoryArchiveState
  readonly model: Model
  /** What is published of the archive; of one node. */
  readonly feed: Feed
  readonly trace: Array<string>
  /** Roots of the archive with the tick at which they began to hold. */
  readonly roots: Array<{ readonly tick: number; readonly root: Digest }>
  /** Calls under way, by number. */
  readonly calls = new Map<number, Call>()
  private nextCall = 1
  /** Troubles are over: the end of a simulation proves what must hold then. */
  calm = false
  /** Since when, in calm, all that can be trusted is. */
  provenAt = Number.POSITIVE_INFINITY
  archiveDown = false
  /** Other nodes write to the archive, too. */
  sharesArchive = false
  /** Called when the archive takes a row. */
  onRow: (record: ItemRecord) => void = () => {}
  /** Since when every commit of this node was refused because another node was the only writer. */
  heldSince: number | undefined
  /** Everything that was handed out, to all nodes. */
  readonly faults: Faults
  /** Ids (with all versions) and single contents the archive refuses for good. */
  readonly poisonIds = new Set<string>()
  readonly poisonCalls = new Set<number>()
  readonly refused = new Set<string>()
  /** Ids whose item is being made by a `getOrInsertWith`. */
  readonly making = new Set<string>()
  /** The world itself: never dies. */
  readonly self: Process = { alive: true }
  readonly wayToArchive: WayToArchive
  /** Outlives the processes, as Redis does. */
  readonly cache: SharedCache

  constructor(
    readonly chance: Chance,
    readonly turns: Turns,
    readonly settings: Settings,
    /** Another node of the same archive and cache. */
    other?: World,
    readonly name = "node"
  ) {
    this.faults = other?.faults ?? new Faults(() => turns.now)
    this.violations = other?.violations ?? new Violations()
    this.archive = other?.archive ?? new MemoryArchiveState()
    this.trace = other?.trace ?? []
    this.feed = new Feed(this.violations)
    if (other === undefined) this.watchRows()
    this.watchDisk()
    this.model = new Model(this.archive.records, this.violations)
    this.roots = [{ tick: 0, root: this.archive.tree.root }]
    this.wayToArchive = new WayToArchive(this)
    this.cache = new SharedCache(this, other?.cache)
    this.model.onFall = (id, to) => {
      for (const call of this.calls.values()) {
        const { floors } = call.start
        const known = floors.get(id)
        if (known !== undefined && (to === undefined || compareVersions(to, known) < 0)) floors.set(id, to)
      }
    }
  }

  private watchRows(): void {
    const { records } = this.archive
    const set = records.set.bind(records)
    records.set = (id, record) => {
      set(id, record)
      this.feed.took(record)
      this.onRow(record)
      return records
    }
  }

  note(text: string): void {
    this.trace.push(`${this.turns.now} ${text}`)
  }

  // ----- calls

  begin(
    text: (call: number) => string,
    intent: Intent | undefined,
    phase: string,
    readOnly: boolean,
    logRefuses: boolean
  ): Call {
    const number = this.nextCall++
    const floors = new Map<string, Floor>()
    for (const id of this.settings.ids) floors.set(id, this.model.current(id))
    const early = [...this.model.ids].flatMap((id) =>
      [...this.model.versionsOf(id)].filter((version) => version.early)
    )
    const call = new Call(number, text(number), intent, {
      tick: ++this.model.tick,
      ms: this.turns.now,
      floors,
      mark: this.faults.mark,
      logRefuses,
      phase,
      readOnly,
      committed: this.disk.committed,
      early
    })
    this.calls.set(number, call)
    return call
  }

  /** The calls under way that may have written this record; several when it bears nobody's mark. */
  writersOf(record: ItemRecord): ReadonlyArray<Call> {
    const marked = this.calls.get(callOf(record.traceparent) ?? 0)
    const { intent } = marked ?? {}
    if (marked !== undefined && intent?.signed && intent.deletes === record.deleted) {
      const isNew = record.deleted
        ? marked.appended.filter(({ id }) => id === record.id).length < (intent.times ?? 1)
        : !marked.indexes.has(indexOf(record.traceparent))
      if (isNew) return [marked]
    }
    return [...this.calls.values()].filter(
      (call) =>
        call.intent !== undefined &&
        !call.intent.signed &&
        call.intent.covers(record.id) &&
        call.intent.deletes === record.deleted &&
        (call.intent.setsState === undefined || call.intent.setsState.state === record.state)
    )
  }

  // ----- the log's disk

  /** How many of the next operations of the disk fail. */
  private readonly toFail = { commits: 0, reads: 0, writes: 0 }

  /** The disk counts down how many are still to fail: whenever it does, one has. */
  private watchDisk(): void {
    const { toFail } = this
    for (const kind of ["commits", "reads", "writes"] as const) {
      Object.defineProperty(this.disk.faults, kind, {
        get: () => toFail[kind],
        set: (left: number) => {
          if (left < toFail[kind]) this.hand("log")
          toFail[kind] = left
        }
      })
    }
  }

  failLog(kind: "commits" | "reads" | "writes", count: number): void {
    this.toFail[kind] += count
  }

  get commitDelay(): Effect.Effect<void> {
    const { commitDelayMs } = this.settings
    return commitDelayMs === 0
      ? Effect.void
      : Effect.suspend(() =>
          this.chance.bool(0.7) ? this.takes("log slow", this.chance.between(1, commitDelayMs)) : Effect.void
        )
  }

  /** Something of this node is told to the log of faults. */
  hand(kind: FaultKind, ms = 0): void {
    this.faults.hand(this.name, kind, ms)
  }

  takes(kind: FaultKind, ms: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.hand(kind, ms)
      return Effect.sleep(ms)
    })
  }

  /** The engine may still be waiting for the next attempt after an earlier trouble. */
  get backingOff(): boolean {
    return this.turns.now - this.faults.last(this.name, "archive", "held", "log") < 10_000
  }

  /** A shutdown keeps 0.3 of its time for what comes after its flush; whoever waits is told then what the log has. */
  get flushTimeIsOver(): boolean {
    const { faults, name, settings, turns } = this
    const asked = faults.last(name, "shutdown")
    return (
      faults.since(faults.lastMark(name, "start"), name, "shutdown") &&
      turns.now - asked >= 0.7 * settings.config.shutdownTimeout - 1
    )
  }

  /** The archive takes everything from now on. */
  heal(): void {
    this.poisonIds.clear()
    this.poisonCalls.clear()
  }

  stopLogFaults(): void {
    Object.assign(this.toFail, { commits: 0, reads: 0, writes: 0 })
  }

  isPoison(record: ItemRecord): boolean {
    return this.poisonIds.has(record.id) || this.poisonCalls.has(callOf(record.traceparent) ?? 0)
  }

  sawRoot(): void {
    const { root } = this.archive.tree
    if (this.roots[this.roots.length - 1]!.root !== root) this.roots.push({ tick: ++this.model.tick, root })
  }

  // ----- the process

  /** The process dies at once; commits it has sent may still arrive. */
  crash(process: Process): void {
    process.alive = false
    MemoryLog.crash(this.disk)
    this.afterProcess(process)
  }

  /** The process has ended by itself. */
  exited(process: Process): void {
    process.alive = false
    this.violations.require(this.disk.owner === undefined, () => "the log is still open after the shutdown")
    MemoryLog.crash(this.disk)
    this.afterProcess(process)
  }

  private afterProcess(process: Process): void {
    this.feed.ended()
    this.heldSince = undefined
    this.calls.clear()
    this.wayToArchive.ended(process)
    // Released on the disk, and the process has died before it heard of it.
    this.model.released(this.disk.released)
    this.model.restarted(this.disk.entries, this.disk.binding?.carriedTo ?? 0)
  }
}
