/** Requests to flush at once: a full batch, a writer that waits for the archive, an archive that is back. */
import { Effect } from "effect"
import type { FlushSignal } from "../background/EngineRuntime.js"

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
