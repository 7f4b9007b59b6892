/** Requests to flush at once: a full batch, a writer that waits for the archive, an archive that is back. */
import { Effect } from "effect"

/** A request to flush before the interval is over. */
export interface FlushSignal {
  /** Asks for a flush. Synchronous; requests that come before the flush has started are one. */
  readonly ask: (kind: "full" | "forced" | "recovery") => void
  /** Waits for the next request. */
  readonly next: Effect.Effect<"full" | "forced" | "recovery">
}

type Kind = "full" | "forced" | "recovery"

const urgency: Readonly<Record<Kind, number>> = { full: 0, forced: 1, recovery: 2 }

export const make = (): FlushSignal => {
  let asked: Kind | undefined
  let wake: ((kind: Kind) => void) | undefined
  return {
    ask: (kind) => {
      if (wake !== undefined) {
        const resume = wake
        wake = undefined
        resume(kind)
      } else if (asked === undefined || urgency[kind] > urgency[asked]) asked = kind
    },
    next: Effect.async((resume) => {
      if (asked !== undefined) {
        const kind = asked
        asked = undefined
        resume(Effect.succeed(kind))
        return undefined
      }
      const mine = (kind: Kind) => resume(Effect.succeed(kind))
      wake = mine
      return Effect.sync(() => {
        if (wake === mine) wake = undefined
      })
    })
  }
}
