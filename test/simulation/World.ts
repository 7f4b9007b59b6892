/**
 * The world around the engine: a disk, an archive and the troubles with both. They outlive the engine's process, of
 * which there is one at a time.
 */

import { Effect } from "effect"
import type { OpenArchive } from "../../src/archive/Archive.js"
import { ArchiveError } from "../../src/archive/ArchiveError.js"
import * as MemoryArchive from "../../src/archive/memory/MemoryArchive.js"
import { heldByAnother } from "../../src/archive/WriterLease.js"
import type { Digest } from "../../src/merkle/Tree.js"
import { compareVersions, type ItemRecord } from "../../src/SyncItem.js"
import * as MemoryLog from "../../src/wal/MemoryLog.js"
import { Call, callOf, type Intent, indexOf } from "./Call.js"
import type { Chance } from "./Chance.js"
import { type FaultKind, Faults } from "./Faults.js"
import { Feed } from "./Feed.js"
import { type Floor, headText, Model } from "./Model.js"
import type { Settings } from "./Settings.js"
import { SharedCache } from "./SharedCache.js"
import type { Process, Turns } from "./Turns.js"
import { Violations } from "./Violation.js"

/** A lease, and the heartbeats before and after it. */
const mostHeldMs = 25_000

export class World {
  readonly violations: Violations
  readonly disk = MemoryLog.makeDisk()
  readonly archive: MemoryArchive.MemoryArchiveState
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
  /** Commits sent to the archive whose fate is open, and their process. */
  private readonly sent = new Map<
    object,
    {
      readonly process: Process
      readonly records: ReadonlyArray<ItemRecord>
      readonly archive: OpenArchive
    }
  >()
  /** The world itself: never dies. */
  readonly self: Process = { alive: true }
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
    this.archive = other?.archive ?? new MemoryArchive.MemoryArchiveState()
    this.trace = other?.trace ?? []
    this.feed = new Feed(this.violations)
    if (other === undefined) this.watchRows()
    this.watchDisk()
    this.model = new Model(this.archive.records, this.violations)
    this.roots = [{ tick: 0, root: this.archive.tree.root }]
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

  // ----- the archive

  /** The archive as this process reaches it. */
  archiveFor(process: Process): OpenArchive {
    const archive: OpenArchive = MemoryArchive.make({
      state: this.archive,
      hooks: {
        before: ({ operation, records }) =>
          Effect.suspend(() => {
            if (!process.alive) return Effect.void
            const token = {}
            if (records !== undefined) this.sent.set(token, { process, records, archive })
            return Effect.ensuring(
              Effect.zipRight(
                this.archiveDelay(operation),
                Effect.suspend(() => this.refusal(operation, records) ?? Effect.void)
              ),
              Effect.sync(() => this.sent.delete(token))
            )
          }),
        after: ({ operation, records }) =>
          Effect.suspend(() => {
            this.sawRoot()
            if (!process.alive) return Effect.void
            const lost = !this.calm && this.chance.bool(this.settings.lostAnswer)
            return Effect.zipRight(
              this.archiveDelay(operation),
              Effect.suspend(() => {
                if (lost) return Effect.fail(this.fault(operation, "the answer was lost"))
                if (records !== undefined) this.feed.confirmed(records)
                return Effect.void
              })
            )
          })
      }
    })
    return {
      ...archive,
      commit: (records) =>
        Effect.tapBoth(archive.commit(records), {
          onFailure: (error) =>
            Effect.sync(() => {
              if (error.problem === heldByAnother().problem) this.held()
            }),
          onSuccess: () =>
            Effect.sync(() => {
              this.heldSince = undefined
            })
        })
    }
  }

  private archiveDelay(operation: string): Effect.Effect<void> {
    const { archiveDelayMs, archiveStall } = this.settings
    const takes = (ms: number) => this.takes(operation === "commit" ? "commit slow" : "archive slow", ms)
    if (!this.calm && this.chance.bool(archiveStall)) return takes(this.chance.between(500, 4000))
    return archiveDelayMs === 0 || this.chance.bool(0.5)
      ? Effect.void
      : takes(this.chance.between(1, archiveDelayMs))
  }

  /** Something of this node is told to the log of faults. */
  hand(kind: FaultKind, ms = 0): void {
    this.faults.hand(this.name, kind, ms)
  }

  /** The archive refused a commit, because another node is its only writer: for as long as a lease lasts. */
  private held(): void {
    const { faults, name, turns } = this
    this.hand("held")
    this.heldSince ??= turns.now
    const since = this.heldSince
    const mayLast =
      mostHeldMs +
      faults.lasted(since, name, "archive slow", "commit slow", "pause") +
      (faults.last(name, "archive") >= since ? mostHeldMs : 0)
    this.violations.require(
      turns.now - since <= mayLast,
      () => `commits of ${name} have been refused for ${turns.now - since} ms for another's lease`
    )
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

  fault(operation: string, problem: string): ArchiveError {
    this.hand("archive")
    return new ArchiveError({ operation, kind: "transient", problem })
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

  private refusal(operation: string, records: ReadonlyArray<ItemRecord> | undefined) {
    if (this.archiveDown) return Effect.fail(this.fault(operation, "the archive is down"))
    if (!this.calm && this.chance.bool(this.settings.archiveFailure)) {
      return Effect.fail(this.fault(operation, "a transient failure"))
    }
    const poison = records?.filter((record) => this.isPoison(record)) ?? []
    if (poison.length === 0) return undefined
    for (const record of poison) this.refused.add(refusalKey(record))
    return Effect.fail(new ArchiveError({ operation, kind: "permanent", problem: "this row is refused" }))
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
    for (const [token, { archive, process: sender, records }] of this.sent) {
      if (sender !== process) continue
      this.sent.delete(token)
      if (!this.settings.hasArchive || this.archiveDown || this.chance.bool(0.5)) continue
      if (records.some((record) => this.isPoison(record))) continue
      this.turns.after(this.chance.between(0, 300), this.self, () => {
        this.note(
          `a commit of the dead process arrives: ${records.map((record) => `${record.id} ${headText(record)}`).join(", ")}`
        )
        Effect.runSync(Effect.ignore(archive.commit(records)))
        this.sawRoot()
      })
    }
    // Released on the disk, and the process has died before it heard of it.
    this.model.released(this.disk.released)
    this.model.restarted(this.disk.entries, this.disk.binding?.carriedTo ?? 0)
  }
}

export const refusalKey = (record: ItemRecord): string => `${record.id}:${headText(record)}`
