/** Takes the lines of a request body in batches, as fast as they come and no faster than they are asked for. */
import type { IncomingMessage } from "node:http"
import { Effect, Either, Option } from "effect"
import { LineSplitter, type SplitLine } from "../../shared/ndjson/LineSplitter.js"
import { isBlank } from "../../shared/ndjson/ObjectLine.js"
import { yieldToEventLoop } from "../../shared/YieldToEventLoop.js"
import type { RequestFailed } from "../api/RequestFailed.js"
import { type BodyBudget, discard, overBudget, readable } from "../middleware/RequestBody.js"
import { type BatchLine, parseBatchLine } from "./BatchLine.js"

interface BadLine {
  readonly _tag: "Bad"
  readonly id: string | undefined
  readonly error: "InvalidLine" | "PayloadTooLarge"
  readonly message: string
}

/** A line with its number, good or bad. */
export type NumberedLine = { readonly number: number } & (BatchLine | BadLine)

/** About what one read from a socket brings. */
const chunkBytes = 64 * 1024

/** Lines and bytes taken apart in one go before other work gets its turn: one or two milliseconds. */
const linesPerTurn = 50
const bytesPerTurn = 64 * 1024

/** How long to wait for more lines before going on with those that are there: one commit serves them all. */
const lingerMs = 2

const describe = (line: SplitLine, maxBytes: number): NumberedLine | undefined => {
  const { number } = line
  if (line._tag === "TooLong") {
    const message = `line ${number} has ${line.length} bytes; at most ${maxBytes} are taken`
    return { _tag: "Bad", number, id: undefined, error: "PayloadTooLarge", message }
  }
  if (isBlank(line.bytes)) return undefined
  const parsed = parseBatchLine(line.bytes)
  if (Either.isRight(parsed)) return { number, ...parsed.right }
  const { id, problem } = parsed.left
  return { _tag: "Bad", number, id, error: "InvalidLine", message: `line ${number} ${problem}` }
}

/**
 * Reads lines of at most `maxLineBytes`. What it holds counts against the budget: a batch at most, and the line
 * that is being read.
 */
export class LineReader {
  private readonly splitter: LineSplitter
  /** Split lines that wait for the next batch; they share the memory of one chunk. */
  private waiting: ReadonlyArray<SplitLine> = []
  private taken = 0
  private ended = false
  /** Bytes of the lines in the current batch, and bytes read that belong to no batch yet. */
  private batchBytes = 0
  private openBytes = 0
  private accounted = 0

  constructor(
    private readonly source: IncomingMessage,
    private readonly budget: BodyBudget,
    private readonly maxLineBytes: number
  ) {
    this.splitter = new LineSplitter(maxLineBytes)
  }

  /**
   * The next lines: at most `maxLines`, and no more once they hold `maxBytes`. Empty at the end of the body.
   * The batch before must be done with: its share of the budget is given back.
   */
  next(maxLines: number, maxBytes: number): Effect.Effect<ReadonlyArray<NumberedLine>, RequestFailed> {
    return Effect.gen(this, function* () {
      this.batchBytes = 0
      const lines: Array<NumberedLine> = []
      for (;;) {
        // Others come first: all connections that have something to read would otherwise be read in one turn.
        yield* yieldToEventLoop
        const filled = this.fill(lines, maxLines, maxBytes)
        this.account(this.batchBytes + Math.min(this.openBytes, this.maxLineBytes + chunkBytes))
        if (this.budget.used > this.budget.max) return yield* Effect.fail(overBudget())
        if (filled === "part") continue
        if (filled === "full" || this.ended) return lines
        if (lines.length === 0) yield* readable(this.source)
        else if (Option.isNone(yield* Effect.timeoutOption(readable(this.source), lingerMs))) return lines
      }
    })
  }

  /** Lets the sender finish without keeping anything. */
  discard(): void {
    this.account(0)
    this.waiting = []
    discard(this.source)
  }

  /** Takes what is there: until the batch is full, or a part of it that is enough for one turn of the event loop. */
  private fill(lines: Array<NumberedLine>, maxLines: number, maxBytes: number): "full" | "part" | "all" {
    const enough = this.batchBytes + bytesPerTurn
    let left = linesPerTurn
    for (;;) {
      for (; this.taken < this.waiting.length; this.taken++) {
        if (lines.length >= maxLines || this.batchBytes >= maxBytes) return "full"
        if (left-- === 0 || this.batchBytes >= enough) return "part"
        const split = this.waiting[this.taken]!
        const length = split._tag === "Line" ? split.bytes.length : split.length
        this.openBytes = Math.max(0, this.openBytes - length)
        const line = describe(split, this.maxLineBytes)
        if (line === undefined) continue
        lines.push(line)
        if (split._tag === "Line") this.batchBytes += length
      }
      if (this.ended) return "all"
      const chunk = this.source.read() as Buffer | null
      this.taken = 0
      if (chunk !== null) {
        this.openBytes += chunk.length
        this.waiting = this.splitter.push(chunk)
      } else if (this.source.readableEnded) {
        this.ended = true
        this.waiting = this.splitter.end()
      } else {
        this.waiting = []
        return "all"
      }
    }
  }

  private account(bytes: number): void {
    this.budget.used += bytes - this.accounted
    this.accounted = bytes
  }
}
