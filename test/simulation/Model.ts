/**
 * The plain model: every version of every id that was ever handed to the log, and where it is. It is told what happens
 * at the boundaries of the engine (its callers, its log, its archive) and knows nothing of its inside.
 */
import { compareVersions, type ItemHead, type ItemRecord } from "../../src/SyncItem.js"
import type { Violations } from "./Violation.js"

/** One version of one id: writes of the same version number, content and kind are the same version. */
export interface Version extends ItemHead {
  /** As handed to the log; several when the same version was written more than once. */
  readonly records: Array<ItemRecord>
  /** Appends of it that have no result yet. */
  inFlight: number
  /** Those that put its letter back, apart from the others: nobody reads it or compares with it because of them. */
  moving: number
  /** It may have been shown before it was durable (durability `memory`). */
  shownEarly: boolean
  /** Acknowledged at `memory` while its commit is under way. */
  early: boolean
  /** Where the log holds it. */
  readonly logged: Set<number>
  /** When an entry of it was released last. */
  leftLogAt: number
  committed: boolean
  /** Acknowledged at `wal` or `archive`. */
  acknowledged: boolean
  /** Its last entry left the log as a dead letter. */
  putAside: boolean
  /** When it ceased to be: lost before its commit, or put aside as a dead letter. */
  goneAt: number | undefined
}

/** What a reader may see at least, from when its call began. */
export type Floor = ItemHead | undefined

export const headText = (head: ItemHead | undefined): string =>
  head === undefined ? "none" : `${head.version}${head.deleted ? "x" : `/${head.contentHash.slice(0, 4)}`}`

const newest = (a: ItemHead | undefined, b: ItemHead | undefined): ItemHead | undefined =>
  a === undefined ? b : b === undefined ? a : compareVersions(a, b) >= 0 ? a : b

export class Model {
  /** Counts events, so that "before" and "after" have a meaning. */
  tick = 0
  private readonly byId = new Map<string, Map<string, Version>>()
  /** Entries the log holds by sequence number. */
  readonly log = new Map<number, Version>()
  /** Entries in the log that are among the dead letters already. */
  private readonly dead = new Set<number>()
  /** Letters that were put back: readers do not see them before the archive has taken them. */
  private readonly quiet = new Set<number>()
  /** Told when what readers may see at least has fallen for an id. */
  onFall: (id: string, to: Floor) => void = () => {}
  releasedArchived = 0
  releasedDead = 0

  constructor(
    private readonly archived: ReadonlyMap<string, ItemRecord>,
    private readonly violations: Violations
  ) {}

  get ids(): Iterable<string> {
    return this.byId.keys()
  }

  versionsOf(id: string): Iterable<Version> {
    return this.byId.get(id)?.values() ?? []
  }

  find(head: ItemHead): Version | undefined {
    return this.byId.get(head.id)?.get(keyOf(head))
  }

  /** The newest version that is durable or acknowledged at `memory`. */
  current(id: string): Floor {
    return newest(this.archived.get(id), this.currentWithoutArchive(id))
  }

  currentWithoutArchive(id: string): Floor {
    let best: Floor
    for (const version of this.versionsOf(id)) {
      if (version.early || this.isLogged(version)) best = newest(best, version)
    }
    return best
  }

  /** As `current`, with what is on its way to the log: what compare-and-set compares with. */
  currentWithInFlight(id: string): Floor {
    let best = this.current(id)
    for (const version of this.versionsOf(id)) if (version.inFlight > 0) best = newest(best, version)
    return best
  }

  private isLogged(version: Version): boolean {
    for (const sequence of version.logged)
      if (!this.dead.has(sequence) && !this.quiet.has(sequence)) return true
    return false
  }

  appending(record: ItemRecord, mayShowEarly: boolean, moved = false): Version {
    this.tick++
    const version = this.versionFor(record)
    if (moved) version.moving++
    else version.inFlight++
    version.goneAt = undefined
    if (!version.records.some((known) => sameRecord(known, record))) version.records.push(record)
    if (mayShowEarly) version.shownEarly = true
    return version
  }

  committed(first: number, records: ReadonlyArray<ItemRecord>, moved = false): void {
    this.tick++
    for (let index = 0; index < records.length; index++) {
      const version = this.versionFor(records[index]!)
      if (moved) version.moving--
      else version.inFlight--
      version.committed = true
      version.early = version.early && version.inFlight > 0
      version.goneAt = undefined
      version.putAside = false
      version.logged.add(first + index)
      if (moved) this.quiet.add(first + index)
      this.log.set(first + index, version)
    }
  }

  refused(records: ReadonlyArray<ItemRecord>, moved = false): void {
    this.tick++
    for (const record of records) {
      const version = this.versionFor(record)
      if (moved) version.moving--
      else version.inFlight--
      if (version.inFlight > 0) continue
      version.early = false
      this.mayBeGone(version)
    }
  }

  /** Acknowledged before its commit. */
  acknowledgedEarly(head: ItemHead): void {
    const version = this.find(head)
    if (version !== undefined && version.inFlight > 0) version.early = true
  }

  deadLettered(sequences: ReadonlyArray<number>): void {
    this.tick++
    for (const sequence of sequences) {
      this.dead.add(sequence)
      const version = this.log.get(sequence)
      // A list from the archive shows what it holds instead, although something newer may be on its way already.
      if (version !== undefined) this.onFall(version.id, this.archived.get(version.id))
    }
  }

  released(upTo: number): void {
    this.tick++
    for (const [sequence, version] of this.log) {
      if (sequence > upTo) continue
      const isDead = this.dead.has(sequence)
      this.violations.require(
        isDead || this.isArchived(version),
        () =>
          `the log released #${sequence} (${version.id} ${headText(version)}), but the archive holds ${headText(this.archived.get(version.id))} and it is no dead letter`
      )
      version.putAside = isDead
      if (isDead) this.releasedDead++
      else this.releasedArchived++
      this.log.delete(sequence)
      this.dead.delete(sequence)
      this.quiet.delete(sequence)
      version.logged.delete(sequence)
      version.leftLogAt = this.tick
      this.mayBeGone(version)
    }
  }

  /** The process has died or ended: what the disk holds is all there is. */
  restarted(
    entries: ReadonlyArray<{ readonly sequence: number; readonly record: ItemRecord }>,
    /** So far the log is known to be carried or put aside, although the change stream still holds it. */
    carriedTo: number
  ): void {
    this.tick++
    // What was put aside and is not known as that is carried once more.
    for (const sequence of this.dead) if (sequence > carriedTo) this.dead.delete(sequence)
    this.quiet.clear()
    for (const versions of this.byId.values()) {
      for (const version of versions.values()) {
        if (version.inFlight + version.moving === 0 && !version.early) continue
        version.inFlight = 0
        version.moving = 0
        version.early = false
        this.mayBeGone(version)
      }
    }
    this.violations.require(
      entries.length === this.log.size &&
        entries.every(({ record, sequence }) => this.log.get(sequence) === this.find(record)),
      () => `the disk holds ${entries.length} entries, the model ${this.log.size}, or they differ`
    )
    this.checkDurable()
  }

  /** Promise 1: everything acknowledged is there in its newest version, unless it was put aside. */
  checkDurable(): void {
    for (const [id, versions] of this.byId) {
      const current = newest(this.archived.get(id), this.currentWithoutArchive(id))
      for (const version of versions.values()) {
        if (!version.acknowledged || version.goneAt !== undefined) continue
        if ([...version.logged].some((sequence) => this.dead.has(sequence))) continue
        this.violations.require(
          current !== undefined && compareVersions(current, version) >= 0,
          () => `acknowledged ${id} ${headText(version)} is lost; log and archive hold ${headText(current)}`
        )
      }
    }
  }

  /** Whether the archive holds this version or a newer one. */
  isArchived(head: ItemHead): boolean {
    const stored = this.archived.get(head.id)
    return stored !== undefined && compareVersions(stored, head) >= 0
  }

  /** Whether nothing in the log is left to be carried: the archive has it, or it is among the dead letters. */
  get isCarried(): boolean {
    return [...this.log].every(([sequence, version]) => this.dead.has(sequence) || this.isArchived(version))
  }

  /** Versions of an id that were put aside while the log still holds them. */
  putAsideOf(id: string): ReadonlyArray<Version> {
    return [...this.versionsOf(id)].filter(({ logged }) => [...logged].some((one) => this.dead.has(one)))
  }

  /** Whether this entry was put aside, dropped since or not: with a change stream the log may hold it for long. */
  isDead(sequence: number): boolean {
    return this.dead.has(sequence)
  }

  /** Entries that were carried to the archive, those that wait for the change stream included. */
  get carried(): number {
    const waiting = [...this.log].filter(
      ([sequence, version]) => !this.dead.has(sequence) && this.isArchived(version)
    )
    return this.releasedArchived + waiting.length
  }

  /** Something the archive has is still in the log: a flush is under way, or has failed half-way. */
  get isBetween(): boolean {
    return [...this.log.values()].some((version) => this.isArchived(version))
  }

  private mayBeGone(version: Version): void {
    if (version.inFlight + version.moving > 0 || version.logged.size > 0) return
    const stored = this.archived.get(version.id)
    if (stored !== undefined && compareVersions(stored, version) >= 0) return
    // An acknowledged version has no excuse but the dead letters.
    if (version.acknowledged && !version.putAside) return
    version.goneAt = this.tick
    this.onFall(version.id, this.current(version.id))
  }

  private versionFor(record: ItemRecord): Version {
    let versions = this.byId.get(record.id)
    if (versions === undefined) {
      versions = new Map()
      this.byId.set(record.id, versions)
    }
    const key = keyOf(record)
    let version = versions.get(key)
    if (version === undefined) {
      version = {
        id: record.id,
        version: record.version,
        contentHash: record.contentHash,
        deleted: record.deleted,
        records: [],
        inFlight: 0,
        moving: 0,
        shownEarly: false,
        early: false,
        logged: new Set(),
        leftLogAt: -1,
        committed: false,
        acknowledged: false,
        putAside: false,
        goneAt: undefined
      }
      versions.set(key, version)
    }
    return version
  }
}

const keyOf = (head: ItemHead): string => `${head.version}:${head.deleted ? "x" : head.contentHash}`

const sameRecord = (a: ItemRecord, b: ItemRecord): boolean =>
  a.updatedAt === b.updatedAt &&
  a.state === b.state &&
  a.contentType === b.contentType &&
  a.traceparent === b.traceparent
