/** What every write-ahead log takes, whatever it is made of. */
import { LogFull } from "../EngineError.js"
import type { LogUsage } from "./WriteAheadLog.js"

/** Bounds of a log. */
export interface LogBounds {
  /** Entries it holds at most; 1,000,000 by default. */
  readonly maxItems?: number
  /** Encoded bytes it holds at most; 1 GiB by default. */
  readonly maxBytes?: number
}

export const defaultMaxItems = 1_000_000

export const defaultMaxBytes = 1024 * 1024 * 1024

/** What a caller is told to wait after the log refused or failed it, in milliseconds. */
export const logRetryAfterMs = 1000

/**
 * The refusal of an append of this many items and bytes, or `undefined` when the bounds admit it. Dead letters take
 * their part of the bounds.
 */
export const refusalOf = (usage: LogUsage, items: number, bytes: number) => {
  const heldItems = usage.items + usage.letters
  const heldBytes = usage.bytes + usage.letterBytes
  return heldItems + items > usage.maxItems || heldBytes + bytes > usage.maxBytes
    ? new LogFull({
        items: heldItems,
        bytes: heldBytes,
        letters: usage.letters,
        maxItems: usage.maxItems,
        maxBytes: usage.maxBytes,
        retryAfterMs: logRetryAfterMs
      })
    : undefined
}
