/** Carries NDJSON lines into a backend: read, check, batch, submit, wait out pressure, count. */
import { Array as Arr, Effect, Either, Fiber, Stream } from "effect"
import type { BatchItem } from "../../http/client/HttpClient.js"
import type { Durability, SubmitResult } from "../../SyncEngine.js"
import { LineSplitter, type SplitLine } from "../../shared/ndjson/LineSplitter.js"
import { isBlank } from "../../shared/ndjson/ObjectLine.js"
import { type CliError, failed, toCliError } from "../app/CliError.js"
import type { Backend, BackendError } from "../backend/Backend.js"
import { parseIngestLine } from "./IngestLine.js"

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

interface Numbered extends BatchItem {
  readonly line: number
}

/** What can be waited out: the log is full, the engine is under pressure, starting, or its tier is unavailable. */
const isWaitable = (error: BackendError): boolean =>
  ["LogFull", "Backpressure", "TierUnavailable"].includes(error._tag) ||
  (error._tag === "GateClosed" && error.phase === "starting")

/** What is about the items of the call and not about the engine: the lines are refused, the rest goes on. */
const aboutItems: ReadonlyArray<BackendError["_tag"]> = [
  "InvalidItem",
  "PayloadTooLarge",
  "VersionConflict",
  "VersionMismatch",
  "ItemRejected",
  "NotSupported"
]

const minimumWaitMs = 20
const maximumWaitMs = 5_000

const waitOf = (error: BackendError): number => {
  const hint = "retryAfterMs" in error ? error.retryAfterMs : minimumWaitMs
  return Math.min(Math.max(hint, minimumWaitMs), maximumWaitMs)
}

/** Puts lines into batches, and says what is wrong with the others. Synchronous. */
class Batcher {
  private batch: Array<Numbered> = []
  private bytes = 0

  constructor(
    private readonly options: IngestOptions,
    private readonly refuse: (line: number, problem: string) => void,
    private readonly counted: () => void
  ) {}

  /** Takes lines; returns the batches that have become full. */
  push(lines: ReadonlyArray<SplitLine>): ReadonlyArray<ReadonlyArray<Numbered>> {
    const { batchBytes, batchItems } = this.options
    const full: Array<ReadonlyArray<Numbered>> = []
    for (const line of lines) {
      this.add(line)
      if (this.batch.length >= batchItems || this.bytes >= batchBytes) full.push(...this.end())
    }
    return full
  }

  /** What is left, as a last batch. */
  end(): ReadonlyArray<ReadonlyArray<Numbered>> {
    const { batch } = this
    this.batch = []
    this.bytes = 0
    return batch.length === 0 ? [] : [batch]
  }

  private add(line: SplitLine): void {
    if (line._tag === "Line" && isBlank(line.bytes)) return
    this.counted()
    if (line._tag === "TooLong") {
      const most = this.options.maxLineBytes
      this.refuse(line.number, `is too long: ${line.length} bytes, at most ${most} are read`)
      return
    }
    const parsed = parseIngestLine(line.bytes)
    if (Either.isLeft(parsed)) this.refuse(line.number, parsed.left)
    else {
      this.batch.push({ ...parsed.right, line: line.number })
      this.bytes += (parsed.right.item.content as Uint8Array).length
    }
  }
}

const giveUp = (error: BackendError, line: number): CliError => {
  const { message, advice } = toCliError(error)
  return failed(`stopped at line ${line}: ${message}`, advice)
}

/** One load. `counts` tells how far it got in any case. */
export class Ingest {
  private items = 0
  private acknowledged = 0
  private rejected = 0
  private bytesRead = 0

  constructor(
    private readonly backend: Pick<Backend, "submitMany">,
    private readonly options: IngestOptions,
    private readonly events: IngestEvents
  ) {}

  get counts(): IngestCounts {
    const { acknowledged, bytesRead, items, rejected } = this
    return { items, acknowledged, rejected, bytesRead }
  }

  /**
   * Reads `input` to its end and submits it. Memory is bounded by one chunk, one line and two batches: the next
   * batch is read while the one before is being committed, and batches go out one after the other, so of two lines
   * with one id the later wins. Fails when the input cannot be read, the engine refuses to work at all, or takes
   * nothing for longer than the patience.
   */
  run(input: Stream.Stream<Uint8Array, CliError>): Effect.Effect<void, CliError> {
    return Effect.scopedWith((scope) => {
      let inFlight: Fiber.Fiber<void, CliError> = Fiber.void
      const settled = Effect.suspend(() => Fiber.join(inFlight))
      return this.batches(input).pipe(
        Stream.runForEach((batch) =>
          // In the scope: the stream runs its steps in fibers that end with the step.
          Effect.zipRight(settled, Effect.forkIn(this.submitBatch(batch), scope)).pipe(
            Effect.andThen((fiber) => {
              inFlight = fiber
            })
          )
        ),
        Effect.zipRight(settled)
      )
    })
  }

  private batches(input: Stream.Stream<Uint8Array, CliError>) {
    const splitter = new LineSplitter(this.options.maxLineBytes)
    const batcher = new Batcher(this.options, this.refuse, () => {
      this.items += 1
    })
    return input.pipe(
      Stream.rechunk(1),
      Stream.mapConcat((chunk) => {
        this.bytesRead += chunk.length
        return batcher.push(splitter.push(chunk))
      }),
      Stream.concat(
        Stream.suspend(() => Stream.fromIterable([...batcher.push(splitter.end()), ...batcher.end()]))
      )
    )
  }

  private readonly refuse = (line: number, problem: string): void => {
    this.rejected += 1
    this.events.badLine(line, problem)
  }

  private submitBatch(batch: ReadonlyArray<Numbered>): Effect.Effect<void, CliError> {
    // Neighbours with the same time to live: one call each, in the input's order.
    const runs = Arr.isNonEmptyReadonlyArray(batch)
      ? Arr.groupWith(batch, (one, next) => one.ttlSeconds === next.ttlSeconds)
      : []
    return Effect.forEach(runs, (run) => this.submitRun(run), { discard: true }).pipe(
      Effect.tap(() => this.events.progress(this.counts, undefined))
    )
  }

  private readonly submitRun = Effect.fnUntraced(function* (this: Ingest, run: ReadonlyArray<Numbered>) {
    const { durability, patienceMs } = this.options
    let left = run
    let waitedMs = 0
    while (left.length > 0) {
      const before = left.length
      const result = yield* Effect.either(this.backend.submitMany(left, durability))
      let error: BackendError | undefined
      if (Either.isRight(result)) {
        const { again, hint } = this.takeResults(left, result.right)
        left = again
        error = hint
      } else if (isWaitable(result.left)) {
        error = result.left
      } else if (aboutItems.includes(result.left._tag)) {
        for (const { line } of left) this.refuse(line, result.left.message)
        return
      } else {
        return yield* giveUp(result.left, left[0]!.line)
      }
      if (error === undefined) return
      if (left.length < before) waitedMs = 0
      if (waitedMs >= patienceMs) return yield* giveUp(error, left[0]!.line)
      const pause = Math.min(waitOf(error), Math.max(patienceMs - waitedMs, minimumWaitMs))
      this.events.progress(this.counts, `waiting: ${error.message}`)
      yield* Effect.sleep(pause)
      waitedMs += pause
    }
  })

  /** Counts the results; returns the items that can be submitted again. */
  private takeResults(run: ReadonlyArray<Numbered>, results: ReadonlyArray<SubmitResult>) {
    const again: Array<Numbered> = []
    let hint: BackendError | undefined
    // From the end: an earlier line must not be tried again once a later line of the same id has been taken.
    const taken = new Set<string>()
    for (let index = run.length - 1; index >= 0; index--) {
      const entry = run[index]!
      const result = results[index]
      if (result === undefined) this.refuse(entry.line, "got no result from the engine")
      else if (result._tag === "Acknowledged") {
        this.acknowledged += 1
        taken.add(entry.item.id)
      } else if (isWaitable(result.error) && !taken.has(entry.item.id)) {
        hint = result.error
        again.push(entry)
      } else this.refuse(entry.line, result.error.message)
    }
    return { again: again.reverse(), hint }
  }
}

/** The summary line of `ingest --json`; `root` is null when it could not be had. */
export const summaryOf = (counts: IngestCounts, milliseconds: number, root: string | null) => ({
  items: counts.items,
  acknowledged: counts.acknowledged,
  rejected: counts.rejected,
  seconds: Math.round(milliseconds) / 1000,
  items_per_second: milliseconds > 0 ? Math.round((counts.acknowledged * 1000) / milliseconds) : 0,
  root
})
