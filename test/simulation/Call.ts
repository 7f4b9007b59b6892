/** One call of a client, and what was true when it began: its answer is judged by that. */
import type { Fiber } from "effect"
import type { Durability } from "../../src/SyncEngineApi.js"
import type { Floor, Version } from "./Model.js"

/** What a call wants to write; lets the boundary of the log recognize its records. */
export interface Intent {
  readonly durability: Durability
  /** The ids it may write; every id below a prefix for bulk deletes. */
  readonly covers: (id: string) => boolean
  /** Its records carry the call's traceparent (a change of state keeps the content's). */
  readonly signed: boolean
  readonly deletes: boolean
  /** Sets the state and leaves the content. */
  readonly setsState?: { readonly state: string | undefined }
  /** The caller's own version of the record with this index. */
  readonly own?: (index: number) => number | undefined
  /** Records it may write of one id; 1 unless given. */
  readonly times?: number
  readonly expected?: number | undefined
}

export class Call {
  readonly appended: Array<Version> = []
  /** Indexes of its batch that have been handed to the log. */
  readonly indexes = new Set<number>()
  fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined
  interrupted = false
  ended = false

  constructor(
    readonly number: number,
    readonly text: string,
    readonly intent: Intent | undefined,
    readonly start: {
      readonly tick: number
      readonly ms: number
      /** What a reader must see at least of each id; falls when a write is lost or put aside meanwhile. */
      readonly floors: Map<string, Floor>
      /** Where the log of faults ended. */
      readonly mark: number
      /** The engine said that its log takes no writes: it refuses them until a probe succeeds. */
      readonly logRefuses: boolean
      readonly phase: string
      readonly readOnly: boolean
      /** Highest sequence number committed. */
      readonly committed: number
      /** Acknowledged before their commit. */
      readonly early: ReadonlyArray<Version>
    }
  ) {}

  floor(id: string): Floor {
    return this.start.floors.get(id)
  }
}

/** The mark of a call (and of one item of its batch) in the records it writes. */
export const traceparentOf = (call: number, index = 0): string =>
  `00-${call.toString(16).padStart(32, "0")}-${(index + 1).toString(16).padStart(16, "0")}-01`

export const callOf = (traceparent: string | undefined): number | undefined =>
  traceparent === undefined ? undefined : Number.parseInt(traceparent.slice(3, 35), 16)

export const indexOf = (traceparent: string | undefined): number =>
  traceparent === undefined ? 0 : Number.parseInt(traceparent.slice(36, 52), 16) - 1
