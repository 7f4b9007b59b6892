/**
 * What a restarted engine must show, told from the journals of all lives on one data directory.
 *
 * An item has to be there in its newest acknowledged version, or in a newer one that was submitted without an
 * answer. What a start has shown is settled: later starts may not fall behind it, and what was not there by then
 * must never turn up.
 */
import type { Entry, Seen } from "./Journal.js"

interface Submitted {
  readonly id: string
  readonly deletes: boolean
  /** Known once it was acknowledged, at whatever level. */
  version: number | undefined
}

interface Settled {
  readonly version: number
  /** The op whose content is there, 0 for a deletion. */
  readonly op: number
}

export class Expectations {
  readonly problems: Array<string> = []
  /** The least that must be there, by id. */
  private readonly floor = new Map<string, Settled>()
  /** Writes of which nobody knows whether they took place, by op. */
  private readonly open = new Map<number, Submitted>()
  readonly counts = { acknowledged: 0, memory: 0, rejected: 0, starts: 0, drained: 0, deletions: 0 }

  /** Items expected to be there, with their version, when nothing is open. */
  items(): ReadonlyMap<string, number> {
    const items = [...this.floor].filter(([, { op }]) => op !== 0)
    return new Map(items.map(([id, { version }]) => [id, version]))
  }

  take(life: string, entries: ReadonlyArray<Entry>): void {
    for (const entry of entries) {
      switch (entry.kind) {
        case "opened":
          if (entry.pending > 0) this.counts.drained++
          break
        case "seen":
          this.counts.starts++
          if (!entry.inSync) this.problems.push(`${life}: the recomputed root is not the stored one`)
          this.compare(life, entry.items)
          break
        case "intent":
          for (const [op, id, deletes] of entry.writes) this.open.set(op, { id, deletes, version: undefined })
          break
        case "acknowledged":
          for (const [op, version] of entry.writes) this.acknowledge(life, op, version, entry.durability)
          break
        case "rejected":
          this.counts.rejected += entry.ops.length
          for (const op of entry.ops) this.open.delete(op)
          break
        case "wrong":
          this.problems.push(`${life}: ${entry.problem}`)
          break
        case "stopped":
          if (!entry.clean || entry.itemsLeftInLog > 0) this.problems.push(`${life}: the end was not clean`)
          // Nothing that was acknowledged may be lost by a clean end.
          for (const [op, { version }] of this.open) if (version !== undefined) this.raise(op, version)
          break
      }
    }
  }

  private acknowledge(life: string, op: number, version: number, durability: string): void {
    const submitted = this.open.get(op)
    if (submitted === undefined) {
      this.problems.push(`${life}: op ${op} was acknowledged, but not open`)
      return
    }
    submitted.version = version
    if (durability === "memory") this.counts.memory++
    else {
      this.counts.acknowledged++
      if (submitted.deletes) this.counts.deletions++
      this.raise(op, version)
    }
  }

  private raise(op: number, version: number): void {
    const { deletes, id } = this.open.get(op)!
    this.open.delete(op)
    if (version > (this.floor.get(id)?.version ?? 0)) this.floor.set(id, { version, op: deletes ? 0 : op })
  }

  private compare(life: string, items: ReadonlyArray<Seen>): void {
    const seen = new Map(items.map((item) => [item[0], item]))
    for (const [id, { op, version }] of this.floor) {
      if (!seen.has(id)) this.problems.push(`${life}: ${id} version ${version} (op ${op}) left no trace`)
    }
    for (const [id, version, op] of items) {
      const floor = this.floor.get(id)
      const problem = this.problemOf(id, version, op, floor)
      if (problem !== undefined) {
        const expected = floor === undefined ? "nothing" : `version ${floor.version} (op ${floor.op})`
        this.problems.push(`${life}: ${id} version ${version} (op ${op}) ${problem}; expected ${expected}`)
      }
      this.floor.set(id, { version, op })
    }
    this.open.clear()
  }

  private problemOf(id: string, version: number, op: number, floor: Settled | undefined): string | undefined {
    if (floor !== undefined && version < floor.version) return "is older than what was acknowledged"
    if (floor !== undefined && version === floor.version) {
      return op === floor.op ? undefined : "is not what was acknowledged with this version"
    }
    const fits = (submitted: Submitted) =>
      submitted.id === id && (submitted.version === undefined || submitted.version === version)
    if (op !== 0) {
      const submitted = this.open.get(op)
      return submitted !== undefined && !submitted.deletes && fits(submitted)
        ? undefined
        : "was never submitted, or refused, or not there before"
    }
    return [...this.open.values()].some((submitted) => submitted.deletes && fits(submitted))
      ? undefined
      : "is a deletion that nobody asked for"
  }
}
