/**
 * The engine's write methods over {@link enqueue}: single items, batches, deletes, compare-and-set. Gate, check,
 * version and enqueue of a call run in one synchronous step, so nothing can come between them.
 */
import { Effect } from "effect"
import type { WriteError } from "../../EngineError.js"
import { InvalidItem, InvalidRequest, VersionMismatch } from "../../EngineError.js"
import * as Metrics from "../../Metrics.js"
import type {
  DeleteOptions,
  Durability,
  Receipt,
  SubmitItem,
  SubmitOptions,
  SubmitResult
} from "../../SyncEngineModels.js"
import type { ItemVersion } from "../../SyncItem.js"
import { idProblem } from "../../SyncItem.js"
import { nameOf } from "../../shared/NameOf.js"
import { yieldToEventLoop } from "../../shared/YieldToEventLoop.js"
import type { PointReads } from "../read/PointReads.js"
import type { ArchiveWaiters } from "../state/ArchiveWaiters.js"
import type { EngineState } from "../state/EngineState.js"
import { newestOf } from "../state/KnownVersions.js"
import type { Prepared } from "../state/PreparedWrite.js"
import { touchedMeanwhile } from "../state/Watching.js"
import * as CacheOnlyItems from "./CacheOnlyItems.js"
import { routingProblem } from "./CacheOnlyItems.js"
import { type Examined, examine } from "./ContentExamination.js"
import { enqueue, throttled, writeGate } from "./LogAppend.js"
import type { Asked, VersionComparison } from "./VersionComparison.js"
import type { WriteApi } from "./WriteApi.js"
import { prepare, prepareDelete, readOnce, unreadable } from "./WriteValidation.js"

export interface WriteOperations extends WriteApi {
  /** `expectedHash`: beside the expected version, because two contents can have the same version number. */
  readonly submit: (
    item: SubmitItem,
    options?: SubmitOptions & { readonly expectedHash?: string }
  ) => Effect.Effect<Receipt, WriteError>
  /**
   * As `deleteMany`; `left` is asked as each deletion is decided, and refuses it as a mismatch. Synchronous. `final`:
   * what has overtaken a deletion before its commit is left too, as a conflict.
   */
  readonly deleteUnless: (
    ids: ReadonlyArray<string>,
    left: (id: string) => boolean,
    final: boolean
  ) => Effect.Effect<ReadonlyArray<SubmitResult>, WriteError>
}

/** What a compare-and-set compares with. */
interface Expected {
  /** 0 for absent. */
  readonly version: number
  readonly contentHash: string | undefined
  /** The write brings its own version. */
  readonly isOwn: boolean
}

/** @param asked what the archive has just said about the id, if it was asked */
type Preparation = (asked?: Asked) => Prepared | WriteError

/**
 * @param onCommitted called after each group commit
 * @param hurry called instead when a writer waits for the archive
 */
export const make = (
  core: EngineState,
  reads: PointReads,
  waiters: ArchiveWaiters,
  onCommitted: () => void,
  hurry: () => void,
  comparison: VersionComparison
): WriteOperations => {
  const append = (
    write: Prepared,
    durability: Durability,
    resume: (effect: Effect.Effect<Receipt, WriteError>) => void
  ): void =>
    enqueue(core, waiters, [write], durability, durability === "archive" ? hurry : onCommitted, ([result]) =>
      resume(result!._tag === "Acknowledged" ? Effect.succeed(result!.receipt) : Effect.fail(result!.error))
    )

  /** @param own the id, when the version is the caller's: it is compared with the archive's first */
  const write = (
    prepared: Preparation,
    durability: Durability,
    refusal: WriteError | undefined,
    own: string | undefined,
    asked?: Asked,
    attempts = 0
  ): Effect.Effect<Receipt, WriteError> =>
    Effect.async((resume) => {
      const refused = writeGate(core) ?? refusal
      if (refused !== undefined) return resume(refuse(refused))
      const isOpen = attempts === 0 || (asked?.watch.dirty === true && attempts < mostQuestions)
      if (own !== undefined && isOpen && comparison.isNeeded(own)) {
        return resume(
          comparison.around([own], (answers) =>
            write(prepared, durability, refusal, own, answers.get(own), attempts + 1)
          )
        )
      }
      const ready = prepared(asked)
      if (ready._tag !== "Prepared") return resume(refuse(ready))
      append(ready, durability, resume)
    })

  /** Writes when the current version is the expected one. */
  const compareAndSet = (
    id: string,
    expected: Expected,
    prepared: Preparation,
    durability: Durability,
    refusal: WriteError | undefined,
    asked?: Asked
  ): Effect.Effect<Receipt, WriteError> =>
    Effect.async((resume) => {
      const refused = writeGate(core) ?? refusal ?? expectationProblem(id, expected.version)
      if (refused !== undefined) return resume(refuse(refused))
      // While others may write, memory may be old: what counts is not archived yet, or the archive says it.
      const sole = core.writer.isCertain()
      let current: ItemVersion | undefined = sole ? core.versions.newest(id) : core.versions.pending(id)
      let stored: ItemVersion | undefined
      // Nor may a version be the newest that nobody has compared with the archive's.
      if (!sole || current === undefined || core.versions.isUnchecked(current)) {
        if (asked === undefined || asked.watch.dirty) return resume(ask(id, expected, prepared, durability))
        stored = asked.head
        current = newestOf(stored, current)
      }
      const actual = current === undefined || current.deleted ? 0 : current.version
      const other = expected.contentHash !== undefined && current?.contentHash !== expected.contentHash
      if (actual !== expected.version || other) {
        return resume(refuse(new VersionMismatch({ id, expected: expected.version, actual })))
      }
      const ready = prepared(asked)
      if (ready._tag !== "Prepared") return resume(refuse(ready))
      append({ ...ready, expected: expected.version }, durability, resume)
    })

  const ask = (
    id: string,
    expected: Expected,
    prepared: Preparation,
    durability: Durability
  ): Effect.Effect<Receipt, WriteError> =>
    touchedMeanwhile(core, [id], (watches) =>
      Effect.flatMap(reads.fetchProven([id]), (records) => {
        const asked: Asked = { head: records.get(id), watch: watches.get(id)! }
        const then = (answer: Asked) => compareAndSet(id, expected, prepared, durability, undefined, answer)
        if (asked.head !== undefined || !expected.isOwn) return then(asked)
        // A filter that proves absence knows of no tombstone, above which the caller's version has to be.
        const alone: Asked = { ...asked, byFilter: true }
        return comparison.isNeeded(id)
          ? comparison.around([id], (answers) => then(answers.get(id) ?? alone))
          : then(alone)
      })
    )

  /** What there is to find out about a large content before its write; none where it is refused anyway. */
  const examinedFirst = (item: SubmitItem | InvalidItem): Effect.Effect<Examined> | undefined => {
    if ("_tag" in item || !(item.content instanceof Uint8Array)) return undefined
    const { content, contentType } = item
    const { bytesPerTurn } = core.limits
    const isLarge = content.length > bytesPerTurn && content.length <= core.config().maxPayloadBytes
    return isLarge && writeGate(core) === undefined ? examine(content, contentType, bytesPerTurn) : undefined
  }

  const submit: WriteOperations["submit"] = (given, asked) =>
    withOptions(asked, (options) => {
      if (options.sql === false) {
        return Effect.flatMap(volatile([given], options), ([result]) =>
          result!._tag === "Acknowledged" ? Effect.succeed(result!.receipt) : Effect.fail(result!.error)
        )
      }
      const durability = durabilityOf(options)
      const refusal = durabilityProblem(options) ?? routingProblem(core, options)
      const item = readOnce(() => given)
      const own = "_tag" in item || item.version === undefined ? undefined : item.id
      const submitted = (examined?: Examined) => {
        const prepared: Preparation = (answer) => prepare(core, item, answer, examined)
        return options.expectedVersion === undefined || "_tag" in item
          ? write(prepared, durability, refusal, own)
          : compareAndSet(
              item.id,
              {
                version: options.expectedVersion,
                contentHash: options.expectedHash,
                isOwn: own !== undefined
              },
              prepared,
              durability,
              refusal
            )
      }
      return throttled(
        core,
        Effect.suspend(() => {
          const examined = refusal === undefined ? examinedFirst(item) : undefined
          return examined === undefined ? submitted() : Effect.flatMap(examined, submitted)
        })
      )
    })

  const remove: WriteOperations["delete"] = (id, asked) =>
    withOptions(asked, (options) => {
      const durability = durabilityOf(options)
      const refusal = durabilityProblem(options)
      const prepared: Preparation = (answer) =>
        prepareDelete(core, id, options.version, options.traceparent, answer)
      return throttled(
        core,
        options.expectedVersion === undefined
          ? write(prepared, durability, refusal, options.version === undefined ? undefined : id)
          : compareAndSet(
              id,
              {
                version: options.expectedVersion,
                contentHash: undefined,
                isOwn: options.version !== undefined
              },
              prepared,
              durability,
              refusal
            )
      )
    })

  /** One turn's worth of a batch, prepared and appended synchronously; results are put at their places. */
  const appendTurn = (
    batch: Batch,
    start: number,
    results: Array<SubmitResult>,
    answers: ReadonlyMap<string, Asked>,
    examined: Examined | undefined
  ) => {
    const writes: Array<Prepared> = []
    try {
      return appendWrites(batch, start, results, writes, answers, examined)
    } catch (cause) {
      // Those known already will not reach the log, and others would wait for them for ever.
      for (const write of writes) core.inFlight.remove(write)
      throw cause
    }
  }

  const appendWrites = (
    batch: Batch,
    start: number,
    results: Array<SubmitResult>,
    writes: Array<Prepared>,
    answers: ReadonlyMap<string, Asked>,
    examined: Examined | undefined
  ) => {
    const closed = core.gate.acceptsWrites ? undefined : core.gate.closed("write")
    if (closed !== undefined) {
      // A drain or shutdown came between two turns: what is not in the log yet is refused.
      Metrics.rejected(closed._tag, batch.count - start)
      for (let rest = start; rest < batch.count; rest++) {
        results[rest] = { _tag: "Rejected", id: batch.id(rest), error: closed }
      }
      return { end: batch.count, settled: Effect.void }
    }
    const places: Array<number> = []
    const { bytesPerTurn } = core.limits
    let bytes = 0
    let index = start
    for (; index < batch.count && index - start < core.turnItems && bytes < bytesPerTurn; index++) {
      if (index > start && batch.examined?.(index) !== undefined) break
      const prepared = batch.prepare(index, answers, index === start ? examined : undefined)
      if (prepared._tag === "Prepared") {
        // Known from here on, also to the later items of this batch.
        core.inFlight.add(prepared)
        bytes += prepared.record.content.byteLength
        writes.push(prepared)
        places.push(index)
      } else {
        Metrics.rejected(prepared._tag, 1)
        results[index] = { _tag: "Rejected", id: batch.id(index), error: prepared }
      }
    }
    if (writes.length === 0) return { end: index, settled: Effect.void }
    let answered = false
    let wake: (() => void) | undefined
    const { durability } = batch
    enqueue(core, waiters, writes, durability, durability === "archive" ? hurry : onCommitted, (answers) => {
      answered = true
      for (let place = 0; place < places.length; place++) results[places[place]!] = answers[place]!
      wake?.()
    })
    const settled = Effect.async<void>((resume) => {
      if (answered) resume(Effect.void)
      else wake = () => resume(Effect.void)
    })
    return { end: index, settled }
  }

  /** The ids of a batch whose own versions only the archive can compare. */
  const ownIds = (batch: Batch): ReadonlyArray<string> => {
    const ids: Array<string> = []
    for (let index = 0; index < batch.count; index++) {
      const id = batch.own?.(index)
      if (id !== undefined && comparison.isNeeded(id)) ids.push(id)
    }
    return ids
  }

  const appendBatch = (
    argument: string,
    batch: Batch,
    refusal: WriteError | undefined
  ): Effect.Effect<ReadonlyArray<SubmitResult>, WriteError> => {
    const appended = Effect.suspend(() => {
      const refused = writeGate(core) ?? refusal ?? batchProblem(core, argument, batch.count)
      if (refused !== undefined) return refuse(refused, batch.count)
      const results = new Array<SubmitResult>(batch.count)
      const settled: Array<Effect.Effect<void>> = []
      const turns = (start: number, answers: ReadonlyMap<string, Asked>): Effect.Effect<void> =>
        Effect.suspend(() => {
          const append = (examined?: Examined) => {
            const turn = appendTurn(batch, start, results, answers, examined)
            settled.push(turn.settled)
            return turn.end < batch.count
              ? Effect.zipRight(yieldToEventLoop, turns(turn.end, answers))
              : Effect.void
          }
          const examined = start < batch.count ? batch.examined?.(start) : undefined
          return examined === undefined ? append() : Effect.flatMap(examined, append)
        })
      // Uninterruptible: otherwise a caller could be left without an answer for what is in the log already.
      const written = (answers: ReadonlyMap<string, Asked>) =>
        Effect.uninterruptible(
          turns(0, answers).pipe(
            Effect.zipRight(Effect.forEach(settled, (turn) => turn, { discard: true })),
            Effect.as(results)
          )
        )
      const own = ownIds(batch)
      return own.length === 0 ? written(noAnswers) : comparison.around(own, written)
    })
    return throttled(core, appended)
  }

  /** Straight to the cache; nothing of it is logged. */
  const volatile = (
    items: ReadonlyArray<SubmitItem>,
    options: SubmitOptions
  ): Effect.Effect<ReadonlyArray<SubmitResult>, WriteError> => {
    const written = Effect.suspend(() => {
      const refused =
        writeGate(core) ?? routingProblem(core, options) ?? batchProblem(core, "items", countOf(items))
      if (refused !== undefined) return refuse(refused, countOf(items))
      const { cache } = core
      if (cache === undefined) return Effect.succeed([])
      return CacheOnlyItems.submit(
        core,
        cache,
        items.length,
        (index) => itemAt(items, index),
        options.ttl ?? 1
      )
    })
    return throttled(core, written)
  }

  /** Each item is read once. */
  const readItems = (items: ReadonlyArray<SubmitItem>): Pick<Batch, "own" | "examined" | "prepare"> => {
    const known: Array<SubmitItem | InvalidItem> = []
    const read = (index: number): SubmitItem | InvalidItem => (known[index] ??= itemAt(items, index))
    return {
      own: (index) => {
        const item = read(index)
        return "_tag" in item || item.version === undefined ? undefined : item.id
      },
      examined: (index) => examinedFirst(read(index)),
      prepare: (index, answers, examined) => {
        const item = read(index)
        return prepare(core, item, "_tag" in item ? undefined : answers.get(item.id), examined)
      }
    }
  }

  const submitMany: WriteOperations["submitMany"] = (items, asked) =>
    withOptions(asked, (options) =>
      options.sql === false
        ? volatile(items, options)
        : appendBatch(
            "items",
            {
              count: countOf(items),
              durability: durabilityOf(options),
              id: (index) => nameOf(idAt(() => items[index]?.id)),
              ...readItems(items)
            },
            durabilityProblem(options) ?? routingProblem(core, options)
          )
    )

  const deleteMany: WriteOperations["deleteMany"] = (ids, asked) =>
    withOptions(asked, (options) =>
      appendBatch(
        "ids",
        {
          count: countOf(ids),
          durability: durabilityOf(options),
          id: (index) => nameOf(idAt(() => ids[index])),
          prepare: (index) =>
            prepareDelete(
              core,
              idAt(() => ids[index]),
              undefined,
              options.traceparent
            )
        },
        durabilityProblem(options)
      )
    )

  const deleteUnless: WriteOperations["deleteUnless"] = (ids, left, final) =>
    appendBatch(
      "ids",
      {
        count: ids.length,
        // At the archive's word: only what it has deleted counts.
        durability: "archive",
        id: (index) => ids[index]!,
        prepare: (index) => {
          const id = ids[index]!
          if (left(id))
            return new VersionMismatch({ id, expected: core.versions.newest(id)?.version ?? 0, actual: 0 })
          const prepared = prepareDelete(core, id, undefined, undefined)
          return prepared._tag === "Prepared" && final ? { ...prepared, final } : prepared
        }
      },
      undefined
    )

  return { submit, submitMany, delete: remove, deleteMany, deleteUnless }
}

/** Own versions are compared again when the id was written meanwhile, so often; then the receipt says that nobody could. */
const mostQuestions = 3

const noAnswers: ReadonlyMap<string, Asked> = new Map()

const refuse = (error: WriteError, items = 1): Effect.Effect<never, WriteError> => {
  Metrics.rejected(error._tag, Number.isNaN(items) ? 1 : items)
  return Effect.fail(error)
}

interface Batch {
  readonly count: number
  readonly durability: Durability
  readonly id: (index: number) => string
  /** The id of a write whose version is the caller's. */
  readonly own?: (index: number) => string | undefined
  readonly prepare: (
    index: number,
    answers: ReadonlyMap<string, Asked>,
    examined: Examined | undefined
  ) => Prepared | WriteError
  /** What is to be done before that, where the content is large. */
  readonly examined?: (index: number) => Effect.Effect<Examined> | undefined
}

/** Reads a caller's options once, before anything is done: their getters may throw. */
export const withOptions = <A, E, R>(
  given: AnyOptions | undefined,
  use: (options: AnyOptions) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | WriteError, R> => {
  if (given === undefined || given === null) return Effect.suspend(() => use(noOptions))
  return Effect.suspend((): Effect.Effect<A, E | WriteError, R> => {
    let options: AnyOptions
    try {
      const { durability, expectedHash, expectedVersion, sql, traceparent, ttl, version } = given
      options = { durability, expectedHash, expectedVersion, sql, traceparent, ttl, version }
    } catch (cause) {
      return refuse(new InvalidRequest({ argument: "options", problem: unreadable(cause) }))
    }
    return use(options)
  })
}

interface AnyOptions extends SubmitOptions, DeleteOptions {
  readonly expectedHash?: string | undefined
}

const noOptions: AnyOptions = {}

const itemAt = (items: ReadonlyArray<SubmitItem>, index: number) => readOnce(() => items[index])

/** An id of a list, which is refused as any other value when it cannot be read. */
const idAt = (id: () => string | undefined): string => {
  try {
    return id()!
  } catch {
    return ""
  }
}

/** Callers in JavaScript may pass anything. */
const countOf = (list: ReadonlyArray<unknown>): number => (Array.isArray(list) ? list.length : Number.NaN)

const batchProblem = (core: EngineState, argument: string, count: number): InvalidRequest | undefined => {
  if (Number.isNaN(count)) return new InvalidRequest({ argument, problem: "must be an array" })
  const { maxBatchItems } = core.config()
  return count <= maxBatchItems
    ? undefined
    : new InvalidRequest({ argument, problem: `has ${count} entries; at most ${maxBatchItems} are allowed` })
}

const expectationProblem = (id: string, expected: number): InvalidItem | undefined => {
  const problem = idProblem(id)
  if (problem !== undefined) return new InvalidItem({ id: nameOf(id), field: "id", problem })
  return Number.isSafeInteger(expected) && expected >= 0
    ? undefined
    : new InvalidItem({
        id,
        field: "expectedVersion",
        problem: "must be a whole number from 0 (absent) upwards"
      })
}

type WithDurability = { readonly durability?: Durability | undefined } | undefined

const durabilityOf = (options: WithDurability): Durability => options?.durability ?? "wal"

const durabilityProblem = (options: WithDurability): InvalidRequest | undefined => {
  const durability = options?.durability
  return durability === undefined || durabilities.includes(durability)
    ? undefined
    : new InvalidRequest({ argument: "durability", problem: 'must be "memory", "wal" or "archive"' })
}

const durabilities: ReadonlyArray<Durability> = ["memory", "wal", "archive"]
