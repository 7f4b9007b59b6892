/** What every write-ahead log takes, whatever it is made of. */
import { Context, Effect, Layer, type Scope } from "effect"
import { LogFull, type LogOpenError, LogUnavailable } from "../EngineError.js"
import { FilterSnapshots } from "./FilterSnapshots.js"
import { type LogUsage, type OpenLog, WriteAheadLog } from "./WriteAheadLog.js"

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

/** A log and the snapshots kept beside it, as two services: the snapshots can be used once the log is open. */
export const layerBoth = (
  path: string,
  open: Effect.Effect<
    { readonly log: OpenLog; readonly snapshots: FilterSnapshots["Type"] },
    LogOpenError,
    Scope.Scope
  >
): Layer.Layer<WriteAheadLog | FilterSnapshots> =>
  Layer.effectContext(
    Effect.sync(() => {
      let opened: FilterSnapshots["Type"] | undefined
      const use = <A>(
        operation: string,
        call: (snapshots: FilterSnapshots["Type"]) => Effect.Effect<A, LogUnavailable>
      ) =>
        Effect.suspend(() =>
          opened === undefined
            ? new LogUnavailable({
                path,
                operation,
                problem: "the log is not open",
                retryAfterMs: logRetryAfterMs
              })
            : call(opened)
        )
      return Context.make(WriteAheadLog, {
        open: Effect.map(open, ({ log, snapshots }) => {
          opened = snapshots
          return log
        })
      }).pipe(
        Context.add(FilterSnapshots, {
          save: (snapshot) => use("saving the filter snapshot", ({ save }) => save(snapshot)),
          load: use("loading the filter snapshot", ({ load }) => load)
        })
      )
    })
  )
