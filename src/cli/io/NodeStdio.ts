/** The real process behind `Stdio`. */
import { fstatSync, writeSync } from "node:fs"
import { createRequire } from "node:module"
import type CliProgress from "cli-progress"
import { Effect, Layer, Queue, Stream } from "effect"
import { type CliError, failed, OutputClosed } from "../app/CliError.js"
import { forwardSignals, type Signal } from "../app/EarlySignals.js"
import { bytesFrom, type ProgressBar, Stdio } from "./Stdio.js"

const noBar: ProgressBar = { update: () => {}, stop: () => {} }

const makeBar = (title: string, total: number | undefined): ProgressBar => {
  const format = total === undefined ? `${title} {note}` : `${title} {bar} {percentage} % {note}`
  // Loaded when there is a bar to draw.
  const cliProgress = createRequire(import.meta.url)("cli-progress") as typeof CliProgress
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

/** The reader that closed it has got what it wanted; every other failure has to be told. */
const outputProblem = (error: NodeJS.ErrnoException): OutputClosed | CliError =>
  error.code === "EPIPE" ? new OutputClosed() : failed(`standard output: ${error.message}`)

/** Whether standard output is a file or a device: no terminal, pipe or socket. */
const outputIsFile = (): boolean => {
  try {
    const kind = fstatSync(1)
    return kind.isFile() || (kind.isCharacterDevice() && process.stdout.isTTY !== true)
  } catch {
    return false
  }
}

/** Node takes a directory for an empty stream. */
const inputIsDirectory = (): boolean => {
  try {
    return fstatSync(0).isDirectory()
  } catch {
    return false
  }
}

/** A file may take only a part, when the disk is full; node's stream takes that for all of it. */
const writeToFile = (data: Uint8Array): Error | undefined => {
  try {
    for (let written = 0; written < data.length; ) written += writeSync(1, data, written)
    return undefined
  } catch (error) {
    return error as Error
  }
}

/** Standard streams and signals of this process. Signals are only queued: the command decides what they mean. */
export const layer: Layer.Layer<Stdio> = Layer.effect(
  Stdio,
  Effect.gen(function* () {
    const signals = yield* Queue.unbounded<Signal>()
    const isFile = outputIsFile()
    let problem: OutputClosed | CliError | undefined
    // A stream without a listener throws its error; the callback of `write` is told as well.
    const onOutputError = (error: Error) => {
      problem ??= outputProblem(error)
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
      stdin: Stream.suspend(() =>
        inputIsDirectory()
          ? Stream.fail(failed("standard input is a directory"))
          : bytesFrom(() => process.stdin, "standard input")
      ),
      write: (data) =>
        Effect.async<void, OutputClosed | CliError>((resume) => {
          const settle = (error?: Error | null) => {
            if (error) onOutputError(error)
            resume(problem === undefined ? Effect.void : Effect.fail(problem))
          }
          if (problem !== undefined) settle()
          else if (isFile) settle(writeToFile(typeof data === "string" ? Buffer.from(data) : data))
          else process.stdout.write(data, settle)
        }),
      unsafeError: (text) => {
        process.stderr.write(text)
      },
      takeSignal: Queue.take(signals),
      progressBar: ({ title, total }) => (process.stderr.isTTY === true ? makeBar(title, total) : noBar)
    }
  })
)
