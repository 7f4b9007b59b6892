/**
 * The world around the engine: a disk, an archive and the troubles with both. They outlive the engine's process, of
 * which there is one at a time.
 */

import { Effect } from "effect"
import type { OpenArchive } from "../../src/archive/Archive.js"
import { ArchiveError } from "../../src/archive/ArchiveError.js"
import * as MemoryArchive from "../../src/archive/memory/MemoryArchive.js"
import type { Digest } from "../../src/merkle/Tree.js"
import { compareVersions, type ItemRecord } from "../../src/SyncItem.js"
import * as MemoryLog from "../../src/wal/MemoryLog.js"
import { Call, callOf, type Intent, indexOf } from "./Call.js"
import type { Chance } from "./Chance.js"
import { type Floor, headText, Model } from "./Model.js"
import type { Settings } from "./Settings.js"
import { SharedCache } from "./SharedCache.js"
import type { Process, Turns } from "./Turns.js"
import { Violations } from "./Violation.js"

export class World {
  readonly violations: Violations
  readonly disk = MemoryLog.makeDisk()
  readonly archive: MemoryArchive.MemoryArchiveState
  readonly model: Model
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
  /** When the process was asked to stop. */
  shutdownAskedMs = Number.POSITIVE_INFINITY
  /** How long the archive has taken for commits so far; counted when one begins to wait. */
  commitDelaysMs = 0
  /** Faults handed out so far. */
  archiveFaults = 0
  readOnlyChanges = 0
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
    other?: World
  ) {
    this.violations = other?.violations ?? new Violations()
    this.archive = other?.archive ?? new MemoryArchive.MemoryArchiveState()
    this.trace = other?.trace ?? []
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
      archiveFaults: this.archiveFaults,
      commitDelaysMs: this.commitDelaysMs,
      logFaults: this.logFaults,
      logRefuses,
      readOnlyChanges: this.readOnlyChanges,
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

  private handedOut = 0

  /** Faults of the log handed out so far. */
  get logFaults(): number {
    const { commits, reads, writes } = this.disk.faults
    return this.handedOut - commits - reads - writes
  }

  failLog(kind: "commits" | "reads" | "writes", count: number): void {
    this.disk.faults[kind] += count
    this.handedOut += count
    this.lastTroubleMs = this.turns.now
  }

  get commitDelay(): Effect.Effect<void> {
    const { commitDelayMs } = this.settings
    return commitDelayMs === 0
      ? Effect.void
      : Effect.suspend(() =>
          this.chance.bool(0.7) ? Effect.sleep(this.chance.between(1, commitDelayMs)) : Effect.void
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
        after: ({ operation }) =>
          Effect.suspend(() => {
            this.sawRoot()
            if (!process.alive) return Effect.void
            const lost = !this.calm && this.chance.bool(this.settings.lostAnswer)
            return lost
              ? Effect.zipRight(
                  this.archiveDelay(operation),
                  Effect.suspend(() => Effect.fail(this.fault(operation, "the answer was lost")))
                )
              : this.archiveDelay(operation)
          })
      }
    })
    return {
      ...archive,
      commit: (records) =>
        Effect.tapError(archive.commit(records), (error) =>
          Effect.sync(() => {
            // Also when the archive itself says so, as to a node that is not the sole writer.
            if (error.kind === "transient") this.countTrouble()
          })
        )
    }
  }

  private archiveDelay(operation: string): Effect.Effect<void> {
    const { archiveDelayMs, archiveStall } = this.settings
    const takes = (ms: number) => {
      if (operation === "commit") this.commitDelaysMs += ms
      return Effect.sleep(ms)
    }
    if (!this.calm && this.chance.bool(archiveStall)) return takes(this.chance.between(500, 4000))
    return archiveDelayMs === 0 || this.chance.bool(0.5)
      ? Effect.void
      : takes(this.chance.between(1, archiveDelayMs))
  }

  private lastTroubleMs = Number.NEGATIVE_INFINITY

  /** The engine may still be waiting for the next attempt after an earlier trouble. */
  get backingOff(): boolean {
    return this.turns.now - this.lastTroubleMs < 10_000
  }

  /** A shutdown keeps 0.3 of its time for what comes after its flush; whoever waits is told then what the log has. */
  get flushTimeIsOver(): boolean {
    return this.turns.now - this.shutdownAskedMs >= 0.7 * this.settings.config.shutdownTimeout - 1
  }

  private countTrouble(): void {
    this.archiveFaults++
    this.lastTroubleMs = this.turns.now
  }

  fault(operation: string, problem: string): ArchiveError {
    this.countTrouble()
    return new ArchiveError({ operation, kind: "transient", problem })
  }

  /** The archive takes everything from now on. */
  heal(): void {
    this.poisonIds.clear()
    this.poisonCalls.clear()
  }

  stopLogFaults(): void {
    const { faults } = this.disk
    this.handedOut -= faults.commits + faults.reads + faults.writes
    faults.commits = 0
    faults.reads = 0
    faults.writes = 0
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
    this.calls.clear()
    this.shutdownAskedMs = Number.POSITIVE_INFINITY
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
    this.model.restarted(this.disk.entries)
  }
}

export const refusalKey = (record: ItemRecord): string => `${record.id}:${headText(record)}`
