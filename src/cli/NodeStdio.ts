/**
 * The real process behind `Stdio`.
 *
 * @since 0.1.0
 */
import cliProgress from "cli-progress"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { failed, OutputClosed } from "./CliError.js"
import { forwardSignals, type Signal } from "./EarlySignals.js"
import { type ProgressBar, Stdio } from "./Stdio.js"

const noBar: ProgressBar = { update: () => {}, stop: () => {} }

const makeBar = (title: string, total: number | undefined): ProgressBar => {
  const format = total === undefined ? `${title} {note}` : `${title} {bar} {percentage} % {note}`
  const bar = new cliProgress.SingleBar(
    {
      format,
      stream: process.stderr,
      hideCursor: true,
      clearOnComplete: true,
      etaBuffer: 50,
      gracefulExit: false
    },
    cliProgress.Presets.shades_classic
  )
  let open = true
  bar.start(total ?? 1, 0, { note: "" })
  return {
    update: (value, note) => {
      if (open) bar.update(total === undefined ? 0 : Math.min(value, total), { note })
    },
    stop: () => {
      if (open) bar.stop()
      open = false
    }
  }
}

/**
 * Standard streams and signals of this process. Signals are only queued: the command decides what they mean.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Stdio> = Layer.effect(
  Stdio,
  Effect.gen(function* () {
    const signals = yield* Queue.unbounded<Signal>()
    let closed = false
    // A stream without a listener throws its error; the callback of `write` is told as well.
    const onOutputError = () => {
      closed = true
    }
    const onErrorOutputError = () => {}
    forwardSignals((signal) => Queue.unsafeOffer(signals, signal))
    process.stdout.on("error", onOutputError)
    process.stderr.on("error", onErrorOutputError)
    return {
      env: process.env,
      stdinIsTerminal: process.stdin.isTTY === true,
      stdoutIsTerminal: process.stdout.isTTY === true,
      stderrIsTerminal: process.stderr.isTTY === true,
      stdin: Stream.fromAsyncIterable(process.stdin as AsyncIterable<Uint8Array>, (error) =>
        failed(`standard input: ${error instanceof Error ? error.message : String(error)}`)
      ),
      write: (data) =>
        Effect.async<void, OutputClosed>((resume) => {
          if (closed) {
            resume(Effect.fail(new OutputClosed()))
            return
          }
          process.stdout.write(data, (error) => {
            resume(error === undefined || error === null ? Effect.void : Effect.fail(new OutputClosed()))
          })
        }),
      unsafeError: (text) => {
        process.stderr.write(text)
      },
      takeSignal: Queue.take(signals),
      progressBar: ({ title, total }) => (process.stderr.isTTY === true ? makeBar(title, total) : noBar)
    }
  })
)
