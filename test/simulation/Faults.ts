/**
 * What the world did, when and to whom. A refused operation, or one that took longer than it may, has to be explained
 * by what is told here.
 */
export type FaultKind =
  /** A call of the archive failed, before it took effect or after. */
  | "archive"
  /** A call of the archive took its time; `commit`, when it was one. */
  | "archive slow"
  | "commit slow"
  /** Another node was the archive's only writer. */
  | "held"
  /** An operation of the log failed, or took its time. */
  | "log"
  | "log slow"
  /** A call of the cache failed, or took its time. */
  | "cache"
  | "cache slow"
  /** The process stood still. */
  | "pause"
  /** Somebody changed whether it takes writes, or asked for its end. */
  | "read-only"
  | "drain"
  | "shutdown"
  /** A process begins, and has started. */
  | "start"
  | "ready"

export interface Fault {
  readonly kind: FaultKind
  /** Of a world, the node's name. */
  readonly whom: string
  readonly at: number
  /** How long it lasts. */
  readonly ms: number
}

export class Faults {
  private readonly all: Array<Fault> = []

  constructor(private readonly now: () => number) {}

  hand(whom: string, kind: FaultKind, ms = 0): void {
    this.all.push({ kind, whom, at: this.now(), ms })
  }

  /** Where the log ends now. */
  get mark(): number {
    return this.all.length
  }

  /** How often a kind was handed out. */
  count(whom: string, kind: FaultKind): number {
    return this.all.filter((fault) => fault.whom === whom && fault.kind === kind).length
  }

  /** Whether one of these kinds was handed out since the mark. */
  since(mark: number, whom: string, ...kinds: ReadonlyArray<FaultKind>): boolean {
    for (let index = this.all.length - 1; index >= Math.max(0, mark); index--) {
      const fault = this.all[index]!
      if (fault.whom === whom && kinds.includes(fault.kind)) return true
    }
    return false
  }

  /** Where this kind was handed out last. */
  lastMark(whom: string, kind: FaultKind): number {
    return this.all.findLastIndex((fault) => fault.whom === whom && fault.kind === kind)
  }

  /** When one of these kinds was handed out last, or ended; never: minus infinity. */
  last(whom: string, ...kinds: ReadonlyArray<FaultKind>): number {
    for (let index = this.all.length - 1; index >= 0; index--) {
      const fault = this.all[index]!
      if (fault.whom === whom && kinds.includes(fault.kind)) return Math.min(this.now(), fault.at + fault.ms)
    }
    return Number.NEGATIVE_INFINITY
  }

  /** For how long faults of these kinds lasted since then, added up. */
  lasted(from: number, whom: string, ...kinds: ReadonlyArray<FaultKind>): number {
    let sum = 0
    // Nothing lasts longer than a minute.
    for (let index = this.all.length - 1; index >= 0 && this.all[index]!.at > from - 60_000; index--) {
      const { at, kind, ms, whom: of } = this.all[index]!
      if (of !== whom || !kinds.includes(kind)) continue
      sum += Math.max(0, Math.min(this.now(), at + ms) - Math.max(at, from))
    }
    return sum
  }
}
