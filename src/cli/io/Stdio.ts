/**
 * The process around a command: streams, terminal, environment, signals. A service, so that tests run
 * commands without spawning processes.
 */
import { Context, type Effect, Stream } from "effect"
import { type CliError, failed, messageOf, type OutputClosed } from "../app/CliError.js"
import type { Signal } from "../app/EarlySignals.js"

/** A progress bar on standard error; nothing at all where that is no terminal. */
export interface ProgressBar {
  /** Shows the value reached and a note beside it. */
  readonly update: (value: number, note: string) => void
  /** Takes the bar away. Idempotent. */
  readonly stop: () => void
}

export class Stdio extends Context.Tag("effect-sync-engine/cli/io/Stdio")<
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

/** The bytes of one of Node's streams; `name` begins what is said when it breaks off. */
export const bytesFrom = (
  source: () => AsyncIterable<Uint8Array>,
  name: string
): Stream.Stream<Uint8Array, CliError> =>
  Stream.suspend(() => Stream.fromAsyncIterable(source(), (error) => failed(`${name}: ${messageOf(error)}`)))
