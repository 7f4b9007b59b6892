/**
 * The process around a command: streams, terminal, environment, signals. A service, so that tests run
 * commands without spawning processes.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { CliError, OutputClosed } from "./CliError.js"
import type { Signal } from "./EarlySignals.js"

/**
 * A progress bar on standard error; nothing at all where that is no terminal.
 *
 * @since 0.1.0
 * @category models
 */
export interface ProgressBar {
  /** Shows the value reached and a note beside it. */
  readonly update: (value: number, note: string) => void
  /** Takes the bar away. Idempotent. */
  readonly stop: () => void
}

/**
 * @since 0.1.0
 * @category services
 */
export class Stdio extends Context.Tag("effect-sync-engine/cli/Stdio")<
  Stdio,
  {
    readonly env: Readonly<Record<string, string | undefined>>
    readonly stdinIsTerminal: boolean
    readonly stdoutIsTerminal: boolean
    readonly stderrIsTerminal: boolean
    readonly stdin: Stream.Stream<Uint8Array, CliError>
    /** Writes to standard output; completes when the reader has taken enough to go on. */
    readonly write: (data: string | Uint8Array) => Effect.Effect<void, OutputClosed | CliError>
    /** Writes to standard error at once; never fails. */
    readonly unsafeError: (text: string) => void
    /** The next signal that nobody has taken yet. None of them kills the process by itself. */
    readonly takeSignal: Effect.Effect<Signal>
    /** A bar up to `total`, or one without an end when the total is unknown. */
    readonly progressBar: (options: {
      readonly title: string
      readonly total: number | undefined
    }) => ProgressBar
  }
>() {}
