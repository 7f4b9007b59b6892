/**
 * The change stream against what the archive took: every change of it is published at least once, in order, and nothing
 * else is. What counts is what ever was appended: a cache that loses its stream breaks no promise of the engine.
 */
import type { CacheChange } from "../../src/cache/Cache.js"
import { compareVersions, type ItemHead, type ItemRecord } from "../../src/SyncItem.js"
import { headText } from "./Model.js"
import type { Violations } from "./Violation.js"

interface Taken extends ItemHead {
  /** The process that was alive then. */
  readonly life: number
  /** That process was told that the archive has it. */
  told: boolean
  publishedIn: number | undefined
}

export class Feed {
  /** What the archive took of each id, in its order. */
  private readonly taken = new Map<string, Array<Taken>>()
  private life = 1
  /** The last sequence number that was published, while nothing allows to go back. */
  private last = 0
  private mayGoBack = false
  published = 0
  again = 0

  constructor(private readonly violations: Violations) {}

  /** The archive holds this from now on. */
  took({ contentHash, deleted, id, version }: ItemRecord): void {
    const all = this.taken.get(id) ?? []
    this.taken.set(id, all)
    all.push({ id, version, contentHash, deleted, life: this.life, told: false, publishedIn: undefined })
  }

  /** The process was told that the archive has taken these. */
  confirmed(records: ReadonlyArray<ItemRecord>): void {
    for (const record of records) {
      const taken = this.taken.get(record.id)?.find((one) => same(one, record))
      if (taken !== undefined && taken.life === this.life) taken.told = true
    }
  }

  /** The process has died or ended. */
  ended(): void {
    this.life++
    this.mayGoBack = true
  }

  /** An append has failed: whatever part of it arrived, it is sent again. */
  failed(): void {
    this.mayGoBack = true
  }

  appended(entries: ReadonlyArray<CacheChange>): void {
    for (const entry of entries) {
      const head = { ...entry, deleted: entry.operation === "DELETE" }
      const name = `the change stream got ${entry.id} ${headText(head)} (#${entry.sequence})`
      this.published++
      if (entry.sequence <= this.last) {
        this.violations.require(this.mayGoBack, () => `${name} after #${this.last}, and nothing had failed`)
        this.again++
      }
      this.mayGoBack = false
      this.last = entry.sequence
      const taken = (this.taken.get(entry.id) ?? []).find((one) => same(one, head))
      if (taken === undefined) {
        this.violations.report(`${name}, which the archive never held`)
        continue
      }
      if (taken.publishedIn !== undefined) continue
      taken.publishedIn = this.life
      const newer = this.newerPublished(taken)
      this.violations.require(
        newer === undefined,
        () => `${name} for the first time after the newer ${headText(newer)}`
      )
    }
  }

  /** Nothing is under way any more: what has to be published is. */
  check(): void {
    for (const all of this.taken.values()) {
      for (const [index, taken] of all.entries()) {
        if (taken.publishedIn !== undefined) continue
        const name = `${taken.id} ${headText(taken)}`
        const newer = all.slice(index + 1).find(({ publishedIn }) => publishedIn !== undefined)
        this.violations.require(
          newer !== undefined,
          () => `the archive took ${name}, the change stream never`
        )
        // Of what is left to the next start, or was never confirmed, the newest versions are published.
        this.violations.require(
          !taken.told || newer?.publishedIn !== taken.life,
          () => `the change stream left out ${name}, which the archive confirmed, for ${headText(newer)}`
        )
      }
    }
  }

  private newerPublished(head: ItemHead): Taken | undefined {
    return this.taken
      .get(head.id)
      ?.find((one) => one.publishedIn !== undefined && compareVersions(one, head) > 0)
  }
}

const same = (a: ItemHead, b: ItemHead): boolean =>
  a.version === b.version && a.deleted === b.deleted && (a.deleted || a.contentHash === b.contentHash)
