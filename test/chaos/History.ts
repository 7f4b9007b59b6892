/**
 * Judges what clients saw against what was promised to them. Each call has a begin and an end on one monotonic clock;
 * of calls that overlap either may have come first, and one without an answer may have happened or not. The cost is
 * that of sorting.
 */

import { Deletions, type Floor, Floors, firstFrom } from "./Floors.js"

export interface WriteRecord {
  readonly kind: "write"
  /** Names the call; what a put stores says it too, so that a read can be traced to its write. */
  readonly call: string
  readonly id: string
  readonly node: number
  readonly start: number
  readonly end: number
  readonly deletes?: boolean
  /** What was promised: `memory` does not survive the death of its node. */
  readonly level: "memory" | "wal" | "archive"
  /** `refused` is the promise that it has not happened. */
  readonly outcome: "acknowledged" | "refused" | "unknown"
  /** Known of acknowledged writes. */
  readonly version?: number
  /** A compare-and-set: the version it was to replace, 0 for none. */
  readonly over?: number
  /** Why it was refused, or not answered. */
  readonly status?: string
}

export interface ReadRecord {
  readonly kind: "read"
  readonly id: string
  /** Undefined for what was read from a store itself, after everything: the writes of all nodes have to be there. */
  readonly node?: number
  readonly start: number
  readonly end: number
  /** 0: it was told to be absent. */
  readonly version: number
  /** The write that the content names. Undefined where only the version was told. */
  readonly call?: string
  readonly from?: string
}

/** A node was killed; at that time it was gone for certain. */
export interface DeathRecord {
  readonly kind: "death"
  readonly node: number
  readonly at: number
}

/** The log of a node failed: what was acknowledged in memory from shortly before may be gone. */
export interface TroubleRecord {
  readonly kind: "trouble"
  readonly node: number
  readonly from: number
  readonly to: number
}

export type HistoryRecord = WriteRecord | ReadRecord | DeathRecord | TroubleRecord

export interface Violation {
  readonly what: "lost" | "stale" | "invented" | "falsely absent" | "out of order" | "overwritten unseen"
  readonly why: string
  /** The calls of that id around it, in the order of their begin. */
  readonly lines: ReadonlyArray<HistoryRecord>
}

export interface Judgement {
  readonly violations: ReadonlyArray<Violation>
  readonly reads: number
  readonly writes: number
  readonly unknown: number
  readonly ids: number
}

interface OfId {
  readonly writes: Array<WriteRecord>
  readonly reads: Array<ReadRecord>
}

export class Judge {
  private readonly calls = new Map<string, WriteRecord>()
  private readonly ids = new Map<string, OfId>()
  private readonly deaths = new Map<number, Array<number>>()
  private readonly troubles: Array<TroubleRecord> = []
  private readonly violations: Array<Violation> = []
  private readonly counts = { reads: 0, writes: 0, unknown: 0 }

  take(record: HistoryRecord): void {
    if (record.kind === "death") {
      const times = this.deaths.get(record.node) ?? []
      times.push(record.at)
      this.deaths.set(record.node, times)
      return
    }
    if (record.kind === "trouble") {
      this.troubles.push(record)
      return
    }
    let known = this.ids.get(record.id)
    if (known === undefined) {
      known = { writes: [], reads: [] }
      this.ids.set(record.id, known)
    }
    if (record.kind === "read") {
      known.reads.push(record)
      this.counts.reads++
      return
    }
    known.writes.push(record)
    this.calls.set(record.call, record)
    this.counts.writes++
    if (record.outcome === "unknown") this.counts.unknown++
  }

  result(): Judgement {
    for (const times of this.deaths.values()) times.sort((a, b) => a - b)
    for (const known of this.ids.values()) {
      this.inventions(known)
      this.floors(known)
      this.comparisons(known)
    }
    return { violations: this.violations, ...this.counts, ids: this.ids.size }
  }

  private readonly deathAfter = (node: number, at: number): number =>
    firstFrom(this.deaths.get(node) ?? [], at)

  private readonly forgottenAt = (node: number, since: number): number => {
    let at = this.deathAfter(node, since)
    for (const { from, node: its, to } of this.troubles) {
      if (its === node && to >= since) at = Math.min(at, Math.max(from, since))
    }
    return at
  }

  private violated(what: Violation["what"], why: string, at: WriteRecord | ReadRecord, since: number): void {
    if (this.violations.length >= 50) return
    const until = at.end
    const { reads, writes } = this.ids.get(at.id)!
    const near = [...writes, ...reads]
      .filter((one) => one === at || (one.start <= until && one.end >= since))
      .sort((a, b) => a.start - b.start)
    const deaths = [...this.deaths].flatMap(([node, times]) =>
      times
        .filter((time) => time >= since && time <= until)
        .map((time): DeathRecord => ({ kind: "death", node, at: time }))
    )
    const lines = near.length > 40 ? [...near.slice(0, 20), ...near.slice(-20)] : near
    this.violations.push({ what, why, lines: [...lines, ...deaths] })
  }

  /** What was read was written, under the version that was told. */
  private inventions({ reads }: OfId): void {
    const versions = new Map<string, number>()
    for (const read of reads) {
      if (read.call === undefined || read.version === 0) continue
      const write = this.calls.get(read.call)
      const invented = (why: string) =>
        this.violated("invented", `${read.id}: ${read.call} was read${why}`, read, write?.start ?? read.start)
      if (write === undefined || write.id !== read.id || write.deletes === true)
        invented(" and never written there")
      else if (write.start > read.end) invented(" before it was written")
      else if (write.outcome === "refused") invented(` although it was refused (${write.status})`)
      else {
        const version = write.version ?? versions.get(read.call) ?? read.version
        versions.set(read.call, version)
        if (version !== read.version) invented(` as version ${read.version}, and it is version ${version}`)
      }
    }
  }

  /** Nothing older than what was promised or seen before is seen, and no write comes below it. */
  private floors({ reads, writes }: OfId): void {
    const acknowledged = writes.filter(({ outcome }) => outcome === "acknowledged")
    const raises = [...acknowledged, ...reads.filter(({ node }) => node !== undefined)].sort(
      (a, b) => a.end - b.end
    )
    const looks = [...acknowledged, ...reads].sort((a, b) => a.start - b.start)
    const floors = new Floors(this.forgottenAt)
    const deletions = new Deletions(writes, this.deathAfter)
    const beneath = new Map<HistoryRecord, Floor>()
    let raised = 0
    for (const look of looks) {
      for (; raised < raises.length && raises[raised]!.end <= look.start; raised++) {
        this.raise(floors, raises[raised]!, beneath.get(raises[raised]!)!)
      }
      const floor = floors.at(look.node, look.start)
      beneath.set(look, floor)
      if (look.kind === "write") {
        if (look.version! <= floor.version) this.below("out of order", look, floor)
      } else if (look.version > 0) {
        if (look.version < floor.version || (look.version === floor.version && floor.absent)) {
          this.below(look.node === undefined ? "lost" : "stale", look, floor)
        }
      } else if (!floor.absent && !deletions.canBeAbove(floor, look.end)) {
        this.below(look.node === undefined ? "lost" : "falsely absent", look, floor)
      }
    }
  }

  /** @param before the floor when that call began: what an absence has replaced */
  private raise(floors: Floors, record: WriteRecord | ReadRecord, before: Floor): void {
    if (record.kind === "write") {
      const { deletes = false, level, node, start, version } = record
      floors.raise(node, { version: version!, absent: deletes, start, by: record }, level)
      return
    }
    const { call, node, start, version } = record
    if (version === 0) {
      floors.raise(node!, { ...before, absent: true }, before.by?.level ?? "wal")
      return
    }
    // Who only heard of a version does not know what is in it.
    const write = call === undefined ? undefined : this.calls.get(call)
    if (write === undefined) return
    floors.raise(
      node!,
      { version, absent: false, start: Math.min(start, write.start), by: write },
      write.level
    )
  }

  private below(what: Violation["what"], look: WriteRecord | ReadRecord, floor: Floor): void {
    const seen = look.version === 0 ? "absent" : `version ${look.version}`
    const before = floor.absent ? `the absence above version ${floor.version}` : `version ${floor.version}`
    const who =
      look.kind === "read" ? (look.from ?? `node ${look.node}`) : `node ${look.node}, write ${look.call}`
    this.violated(
      what,
      `${look.id}: ${seen} (${who}) after ${before} of ${floor.by?.call ?? "a read"}`,
      look,
      floor.start
    )
  }

  /** A compare-and-set replaced what it said, and no two writes have one version. */
  private comparisons({ reads, writes }: OfId): void {
    const seen = new Map<string, number>()
    for (const { call, version } of reads) if (call !== undefined && version > 0) seen.set(call, version)
    const known: Array<{ readonly version: number; readonly write: WriteRecord }> = []
    for (const write of writes) {
      const version = write.outcome === "acknowledged" ? write.version : seen.get(write.call)
      // What was only in memory may have been lost before the comparison.
      if (version !== undefined && write.level !== "memory") known.push({ version, write })
    }
    known.sort((a, b) => a.version - b.version)
    const deletions = new Deletions(writes, this.deathAfter)
    for (let i = 1; i < known.length; i++) {
      const { version, write } = known[i]!
      const before = known[i - 1]!
      if (before.version === version) {
        this.violated(
          "out of order",
          `${write.id}: ${before.write.call} has version ${version} too`,
          write,
          before.write.start
        )
      }
      if (write.over === undefined || write.outcome !== "acknowledged" || before.write.node !== write.node)
        continue
      const { deletes = false, start } = before.write
      const beneath = { version: before.version, absent: deletes, start, by: before.write }
      // A deletion that nobody answered may lie between the two.
      const wasAbsent = deletes || deletions.canBeAbove(beneath, write.end)
      if (write.over === 0 ? !wasAbsent : before.version > write.over) {
        const why = `${write.id}: ${write.call} was to replace ${write.over} and replaced ${before.version} of ${before.write.call}`
        this.violated("overwritten unseen", why, write, before.write.start)
      }
    }
  }
}

export const judge = (records: Iterable<HistoryRecord>): Judgement => {
  const judging = new Judge()
  for (const record of records) judging.take(record)
  return judging.result()
}
