/**
 * Where the existence filter's snapshot is kept between two runs: one blob, beside the log.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, type Option, type Scope } from "effect"
import { type LogOpenError, LogUnavailable } from "../EngineError.js"
import { type OpenLog, WriteAheadLog } from "./WriteAheadLog.js"

/**
 * @since 0.1.0
 * @category services
 */
export class FilterSnapshots extends Context.Tag("effect-sync-engine/FilterSnapshots")<
  FilterSnapshots,
  {
    /** Replaces the snapshot: durable before it returns, and never half of it. The bytes must not change until it does. */
    readonly save: (snapshot: Uint8Array) => Effect.Effect<void, LogUnavailable>
    /** The snapshot saved last, if any. Its bytes are not checked here: a snapshot carries its own checksum. */
    readonly load: Effect.Effect<Option.Option<Uint8Array>, LogUnavailable>
  }
>() {}

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
            ? new LogUnavailable({ path, operation, problem: "the log is not open", retryAfterMs: 1000 })
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
