/** What has been promised of one id so far, and what can explain that it is not there. */
import type { WriteRecord } from "./History.js"

/** What has to be seen at least. After an absence it is above the version that was there before. */
export interface Floor {
  readonly version: number
  readonly absent: boolean
  /** When what set it began. */
  readonly start: number
  /** Undefined where only a version is known. */
  readonly by: WriteRecord | undefined
}

const nothing: Floor = { version: 0, absent: true, start: Number.NEGATIVE_INFINITY, by: undefined }

const isAbove = (a: Floor, b: Floor): boolean =>
  a.version > b.version || (a.version === b.version && a.absent && !b.absent)

/** The first of ascending numbers that is not below the bound; infinite when there is none. */
export const firstFrom = (ascending: ReadonlyArray<number>, bound: number): number => {
  let low = 0
  let high = ascending.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (ascending[middle]! < bound) low = middle + 1
    else high = middle
  }
  return ascending[low] ?? Number.POSITIVE_INFINITY
}

/** What was promised so far, node by node and of all nodes. */
export class Floors {
  private readonly durable = new Map<number | undefined, Floor>()
  private readonly early = new Map<number | undefined, Floor>()

  constructor(private readonly forgottenAt: (node: number, since: number) => number) {}

  raise(node: number, to: Floor, level: WriteRecord["level"]): void {
    const kept = level === "memory" ? this.early : this.durable
    for (const key of [node, undefined]) if (isAbove(to, kept.get(key) ?? nothing)) kept.set(key, to)
  }

  at(node: number | undefined, time: number): Floor {
    const durable = this.durable.get(node) ?? nothing
    const early = this.early.get(node)
    if (early?.by === undefined || this.forgottenAt(early.by.node, early.start) <= time) return durable
    return isAbove(early, durable) ? early : durable
  }
}

/** Which deletions can explain an absence. */
export class Deletions {
  private readonly starts: Array<number> = []
  /** Of those that began first: the highest known version, and until when one without an answer can have happened. */
  private readonly versions: Array<number> = []
  private readonly until: Array<number> = []

  constructor(writes: ReadonlyArray<WriteRecord>, deathAfter: (node: number, at: number) => number) {
    const deletes = writes.filter((write) => write.deletes === true && write.outcome !== "refused")
    let version = 0
    let until = Number.NEGATIVE_INFINITY
    for (const write of deletes.sort((a, b) => a.start - b.start)) {
      if (write.outcome === "acknowledged") version = Math.max(version, write.version!)
      // What its node has not taken when it dies, it never takes.
      else until = Math.max(until, deathAfter(write.node, write.start))
      this.starts.push(write.start)
      this.versions.push(version)
      this.until.push(until)
    }
  }

  canBeAbove(floor: Floor, before: number): boolean {
    let low = 0
    let high = this.starts.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.starts[middle]! < before) low = middle + 1
      else high = middle
    }
    if (low === 0) return false
    return this.versions[low - 1]! > floor.version || this.until[low - 1]! >= floor.start
  }
}
