/** Carries NDJSON lines into a backend: read, check, batch, submit, wait out pressure, count. */
import { Clock, Effect, Either, Fiber, Stream } from "effect"
import type { Durability, SubmitResult } from "../../SyncEngine.js"
import { LineSplitter, type SplitLine } from "../../shared/ndjson/LineSplitter.js"
import { type CliError, failed, toCliError } from "../app/CliError.js"
import type { Backend, BackendError } from "../backend/Backend.js"
import { type IngestItem, isBlank, parseIngestLine } from "./IngestLine.js"

export interface IngestOptions {
  readonly durability: Durability | undefined
  /** Items in one batch. */
  readonly batchItems: number
  /** Content bytes after which a batch goes out early. */
  readonly batchBytes: number
  /** Longest line in bytes. */
  readonly maxLineBytes: number
  /** How long to go on while the engine takes nothing, in milliseconds. */
  readonly patienceMs: number
}

/** What has been done so far. */
export interface IngestCounts {
  /** Lines that held something. */
  readonly items: number
  readonly acknowledged: number
  readonly rejected: number
  /** Bytes of input read. */
  readonly bytesRead: number
}

/** Where the pipeline tells what happens; synchronous. */
export interface IngestEvents {
  readonly badLine: (number: number, problem: string) => void
  /** Called after every batch, and whenever it has to wait. */
  readonly progress: (counts: IngestCounts, waiting: string | undefined) => void
}

interface Numbered extends IngestItem {
  readonly line: number
}

/** What a caller can wait out: the log is full, the engine is under pressure, starting, or its tier is unavailable. */
const isWaitable = (error: BackendError): boolean =>
  error._tag === "LogFull" ||
  error._tag === "Backpressure" ||
  error._tag === "TierUnavailable" ||
  (error._tag === "GateClosed" && error.phase === "starting")

/** What speaks about the items of the call and not about the engine: the lines are refused, the rest goes on. */
const isAboutItems = (error: BackendError): boolean =>
  error._tag === "InvalidItem" ||
  error._tag === "PayloadTooLarge" ||
  error._tag === "VersionConflict" ||
  error._tag === "VersionMismatch" ||
  error._tag === "ItemRejected" ||
  error._tag === "NotSupported"

const minimumWaitMs = 20
const maximumWaitMs = 5_000

const waitOf = (error: BackendError): number => {
  const hint = "retryAfterMs" in error ? error.retryAfterMs : minimumWaitMs
  return Math.min(Math.max(hint, minimumWaitMs), maximumWaitMs)
}

/** Neighbours with the same time to live: one call each, in the input's order. */
const runsOf = (items: ReadonlyArray<Numbered>): ReadonlyArray<ReadonlyArray<Numbered>> => {
  const runs: Array<Array<Numbered>> = []
  for (const item of items) {
    const run = runs[runs.length - 1]
    if (run !== undefined && run[0]!.ttlSeconds === item.ttlSeconds) run.push(item)
    else runs.push([item])
  }
  return runs
}

/**
 * Reads `input` to its end and submits it. Memory is bounded by one chunk, one line and two batches: the next
 * batch is read while the one before is being committed, and batches go out one after the other, so of two lines
 * with one id the later wins. Fails when the input cannot be read, the engine refuses to work at all, or takes
 * nothing for longer than the patience; `counts` tells how far it got in any case.
 */
export const makeIngest = (backend: Backend, options: IngestOptions, events: IngestEvents) => {
  let items = 0
  let acknowledged = 0
  let rejected = 0
  let bytesRead = 0
  let submittedTo = 0

  const counts = (): IngestCounts => ({ items, acknowledged, rejected, bytesRead })

  const refuse = (line: number, problem: string) => {
    rejected += 1
    events.badLine(line, problem)
  }

  const giveUp = (error: BackendError, line: number): CliError => {
    const { message, advice } = toCliError(error)
    return failed(`stopped at line ${line}: ${message}`, advice)
  }

  /** Takes the answers in; what can be waited out comes back. */
  const settle = (run: ReadonlyArray<Numbered>, results: ReadonlyArray<SubmitResult>) => {
    const again: Array<Numbered> = []
    let hint: BackendError | undefined
    // From the end: an earlier line must not be tried again once a later line of the same id has been taken.
    const taken = new Set<string>()
    for (let index = run.length - 1; index >= 0; index--) {
      const entry = run[index]!
      const result = results[index]
      if (result === undefined) refuse(entry.line, "got no answer from the engine")
      else if (result._tag === "Acknowledged") {
        acknowledged += 1
        taken.add(entry.item.id)
      } else if (isWaitable(result.error) && !taken.has(entry.item.id)) {
        hint = result.error
        again.push(entry)
      } else refuse(entry.line, result.error.message)
    }
    return { again: again.reverse(), hint }
  }

  const submitRun = (run: ReadonlyArray<Numbered>): Effect.Effect<void, CliError> =>
    Effect.gen(function* () {
      let left = run
      let waitedMs = 0
      while (left.length > 0) {
        const before = left.length
        const answer = yield* Effect.either(backend.submitMany(left, options.durability))
        let error: BackendError | undefined
        if (Either.isRight(answer)) {
          const { again, hint } = settle(left, answer.right)
          left = again
          error = hint
        } else if (isWaitable(answer.left)) {
          error = answer.left
        } else if (isAboutItems(answer.left)) {
          for (const entry of left) refuse(entry.line, answer.left.message)
          return
        } else {
          return yield* giveUp(answer.left, left[0]!.line)
        }
        if (error === undefined) return
        if (left.length < before) waitedMs = 0
        if (waitedMs >= options.patienceMs) return yield* giveUp(error, left[0]!.line)
        const pause = Math.min(waitOf(error), Math.max(options.patienceMs - waitedMs, minimumWaitMs))
        events.progress(counts(), `waiting: ${error.message}`)
        yield* Effect.sleep(pause)
        waitedMs += pause
      }
    })

  const submitBatch = (batch: ReadonlyArray<Numbered>): Effect.Effect<void, CliError> =>
    Effect.forEach(runsOf(batch), submitRun, { discard: true }).pipe(
      Effect.tap(() => {
        submittedTo = batch[batch.length - 1]!.line
        events.progress(counts(), undefined)
      })
    )

  const run = (input: Stream.Stream<Uint8Array, CliError>): Effect.Effect<void, CliError> =>
    Effect.scopedWith((scope) => {
      const splitter = new LineSplitter(options.maxLineBytes)
      let batch: Array<Numbered> = []
      let batchBytes = 0
      let inFlight: Fiber.Fiber<void, CliError> | undefined

      const take = (line: SplitLine) => {
        if (line._tag === "TooLong") {
          items += 1
          refuse(line.number, `is too long: ${line.length} bytes, at most ${options.maxLineBytes} are read`)
          return
        }
        if (isBlank(line.bytes)) return
        items += 1
        const parsed = parseIngestLine(line.bytes)
        if (Either.isLeft(parsed)) refuse(line.number, parsed.left)
        else {
          batch.push({ ...parsed.right, line: line.number })
          batchBytes += (parsed.right.item.content as Uint8Array).length
        }
      }

      const isFull = () => batch.length >= options.batchItems || batchBytes >= options.batchBytes

      const settled = Effect.suspend(() => {
        const fiber = inFlight
        inFlight = undefined
        return fiber === undefined ? Effect.void : Fiber.join(fiber)
      })

      const send = Effect.gen(function* () {
        if (batch.length === 0) return
        const full = batch
        batch = []
        batchBytes = 0
        yield* settled
        // In the scope: the stream runs its steps in fibers that end with the step.
        inFlight = yield* Effect.forkIn(submitBatch(full), scope)
      })

      /** Takes lines until a batch is full or none is left. */
      const takeAll = (lines: ReadonlyArray<SplitLine>) =>
        Effect.suspend(() => {
          let index = 0
          return Effect.whileLoop({
            while: () => index < lines.length,
            body: () => {
              while (index < lines.length && !isFull()) take(lines[index++]!)
              return isFull() ? send : Effect.void
            },
            step: () => {}
          })
        })

      return input.pipe(
        Stream.runForEach((chunk) => {
          bytesRead += chunk.length
          return takeAll(splitter.push(chunk))
        }),
        Effect.zipRight(Effect.suspend(() => takeAll(splitter.end()))),
        Effect.zipRight(send),
        Effect.zipRight(settled)
      )
    })

  return {
    /** How far it has got. */
    counts,
    /** Everything up to this line has been answered for. */
    lastLine: () => submittedTo,
    run
  }
}

/** The summary line of `ingest --json`. */
export interface IngestSummary {
  readonly items: number
  readonly acknowledged: number
  readonly rejected: number
  readonly seconds: number
  readonly items_per_second: number
  /** Null when the root could not be had. */
  readonly root: string | null
}

export const summaryOf = (
  counts: IngestCounts,
  milliseconds: number,
  root: string | null
): IngestSummary => ({
  items: counts.items,
  acknowledged: counts.acknowledged,
  rejected: counts.rejected,
  seconds: Math.round(milliseconds) / 1000,
  items_per_second: milliseconds > 0 ? Math.round((counts.acknowledged * 1000) / milliseconds) : 0,
  root
})

/** Milliseconds now, in fractions, for durations. */
export const nowMs: Effect.Effect<number> = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos) / 1e6)
