/**
 * Where the existence filter's snapshot is kept between two runs: one blob, beside the log.
 *
 * @since 0.1.0
 */
import { Context, type Effect, type Option } from "effect"
import type { LogUnavailable } from "../EngineError.js"

/**
 * Keeps one snapshot of the existence filter.
 *
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
