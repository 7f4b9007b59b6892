/** The engine's write methods: from what a caller hands in to single writes, batches, and items in the cache alone. */

import { Effect } from "effect"
import type { WriteError } from "../../EngineError.js"
import { type InvalidItem, InvalidRequest, VersionMismatch } from "../../EngineError.js"
import type {
  DeleteOptions,
  Durability,
  Receipt,
  SubmitItem,
  SubmitOptions,
  SubmitResult
} from "../../SyncEngineModels.js"
import { nameOf } from "../../shared/NameOf.js"
import type { PointReads } from "../read/PointReads.js"
import type { EngineState } from "../state/EngineState.js"
import { type Batch, BatchWrites, batchProblem } from "./BatchWrites.js"
import * as CacheOnlyItems from "./CacheOnlyItems.js"
import { routingProblem } from "./CacheOnlyItems.js"
import type { LogAppend } from "./LogAppend.js"
import { type SingleWrite, SingleWrites } from "./SingleWrites.js"
import type { VersionComparison } from "./VersionComparison.js"
import { refuse, throttled, writeGate } from "./WriteGate.js"
import { type Examined, examine, prepare, prepareDelete, readOnce, unreadable } from "./WriteValidation.js"

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

export const make = (
  core: EngineState,
  reads: PointReads,
  log: LogAppend,
  comparison: VersionComparison
): WriteOperations => {
  const singles = new SingleWrites(core, reads, log, comparison)
  const batches = new BatchWrites(core, log, comparison)
  return {
    submit: (given, asked) =>
      withOptions(asked, (options) =>
        options.sql === false
          ? Effect.flatMap(volatile(core, [given], options), ([result]) =>
              result!._tag === "Acknowledged" ? Effect.succeed(result!.receipt) : Effect.fail(result!.error)
            )
          : submitOne(core, singles, given, options)
      ),
    submitMany: (items, asked) =>
      withOptions(asked, (options) =>
        options.sql === false
          ? volatile(core, items, options)
          : batches.append(
              "items",
              {
                count: countOf(items),
                durability: durabilityOf(options),
                id: (index) => nameOf(idAt(() => items[index]?.id)),
                ...readItems(core, items)
              },
              durabilityProblem(options) ?? routingProblem(core, options)
            )
      ),
    delete: (id, asked) => withOptions(asked, (options) => deleteOne(core, singles, id, options)),
    deleteMany: (ids, asked) =>
      withOptions(asked, (options) => {
        const id = (index: number) => idAt(() => ids[index])
        return batches.append(
          "ids",
          {
            count: countOf(ids),
            durability: durabilityOf(options),
            id: (index) => nameOf(id(index)),
            prepare: (index) => prepareDelete(core, id(index), undefined, options.traceparent)
          },
          durabilityProblem(options)
        )
      }),
    deleteUnless: (ids, left, final) => {
      const batch: Batch = {
        count: ids.length,
        // At the archive's word: only what it has deleted counts.
        durability: "archive",
        id: (index) => ids[index]!,
        prepare: (index) => {
          const id = ids[index]!
          if (left(id)) {
            return new VersionMismatch({ id, expected: core.versions.newest(id)?.version ?? 0, actual: 0 })
          }
          const prepared = prepareDelete(core, id, undefined, undefined)
          return prepared._tag === "Prepared" && final ? { ...prepared, final } : prepared
        }
      }
      return Effect.suspend(() => batches.append("ids", batch, undefined))
    }
  }
}

const submitOne = (
  core: EngineState,
  singles: SingleWrites,
  given: SubmitItem,
  options: AnyOptions
): Effect.Effect<Receipt, WriteError> => {
  const refusal = durabilityProblem(options) ?? routingProblem(core, options)
  const item = readOnce([given], 0)
  const own = "_tag" in item || item.version === undefined ? undefined : item.id
  const submitted = (examined?: Examined) => {
    const write: SingleWrite = {
      prepare: (answer) => prepare(core, item, answer, examined),
      durability: durabilityOf(options),
      refusal
    }
    if (options.expectedVersion === undefined || "_tag" in item) return singles.write(write, own)
    const { expectedHash: contentHash, expectedVersion: version } = options
    return singles.compareAndSet(item.id, { version, contentHash, isOwn: own !== undefined }, write)
  }
  return throttled(core, () => {
    const examined = refusal === undefined ? examinedFirst(core, item) : undefined
    return examined === undefined ? submitted() : Effect.flatMap(examined, submitted)
  })
}

const deleteOne = (
  core: EngineState,
  singles: SingleWrites,
  id: string,
  options: AnyOptions
): Effect.Effect<Receipt, WriteError> => {
  const write: SingleWrite = {
    prepare: (answer) => prepareDelete(core, id, options.version, options.traceparent, answer),
    durability: durabilityOf(options),
    refusal: durabilityProblem(options)
  }
  const isOwn = options.version !== undefined
  return throttled(core, () =>
    options.expectedVersion === undefined
      ? singles.write(write, isOwn ? id : undefined)
      : singles.compareAndSet(id, { version: options.expectedVersion, contentHash: undefined, isOwn }, write)
  )
}

/** Straight to the cache; nothing of it is logged. */
const volatile = (
  core: EngineState,
  items: ReadonlyArray<SubmitItem>,
  options: SubmitOptions
): Effect.Effect<ReadonlyArray<SubmitResult>, WriteError> =>
  throttled(core, () => {
    const refused =
      writeGate(core) ?? routingProblem(core, options) ?? batchProblem(core, "items", countOf(items))
    if (refused !== undefined) return refuse(refused, countOf(items))
    const { cache } = core
    if (cache === undefined) return Effect.succeed([])
    const item = (index: number) => readOnce(items, index)
    return CacheOnlyItems.submit(core, cache, items.length, item, options.ttl ?? 1)
  })

/** Each item is read once. */
const readItems = (
  core: EngineState,
  items: ReadonlyArray<SubmitItem>
): Pick<Batch, "own" | "examined" | "prepare"> => {
  const known: Array<SubmitItem | InvalidItem> = []
  const read = (index: number): SubmitItem | InvalidItem => (known[index] ??= readOnce(items, index))
  return {
    own: (index) => {
      const item = read(index)
      return "_tag" in item || item.version === undefined ? undefined : item.id
    },
    examined: (index) => examinedFirst(core, read(index)),
    prepare: (index, answers, examined) => {
      const item = read(index)
      return prepare(core, item, "_tag" in item ? undefined : answers.get(item.id), examined)
    }
  }
}

/** What there is to find out about a large content before its write; none where it is refused anyway. */
const examinedFirst = (
  core: EngineState,
  item: SubmitItem | InvalidItem
): Effect.Effect<Examined> | undefined => {
  if ("_tag" in item || !(item.content instanceof Uint8Array)) return undefined
  const { content, contentType } = item
  const { bytesPerTurn } = core.limits
  const isLarge = content.length > bytesPerTurn && content.length <= core.config().maxPayloadBytes
  return isLarge && writeGate(core) === undefined ? examine(content, contentType, bytesPerTurn) : undefined
}

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

/** Reads a caller's options once, before anything is done: their getters may throw. */
export const withOptions = <A, E, R>(
  given: AnyOptions | undefined,
  use: (options: AnyOptions) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | WriteError, R> =>
  Effect.suspend((): Effect.Effect<A, E | WriteError, R> => {
    if (given === undefined || given === null) return use(noOptions)
    let options: AnyOptions
    try {
      const { durability, expectedHash, expectedVersion, sql, traceparent, ttl, version } = given
      options = { durability, expectedHash, expectedVersion, sql, traceparent, ttl, version }
    } catch (cause) {
      return refuse(new InvalidRequest({ argument: "options", problem: unreadable(cause) }))
    }
    return use(options)
  })

export interface AnyOptions extends SubmitOptions, DeleteOptions {
  readonly expectedHash?: string | undefined
}

const noOptions: AnyOptions = {}

const durabilityOf = ({ durability = "wal" }: AnyOptions): Durability => durability

const durabilityProblem = ({ durability }: AnyOptions): InvalidRequest | undefined =>
  durability === undefined || durabilities.includes(durability)
    ? undefined
    : new InvalidRequest({ argument: "durability", problem: 'must be "memory", "wal" or "archive"' })

const durabilities: ReadonlyArray<Durability> = ["memory", "wal", "archive"]

/**
 * Writes; they need the phase `ready`.
 *
 * @since 0.1.0
 * @category services
 */
export interface WriteApi {
  readonly submit: (item: SubmitItem, options?: SubmitOptions) => Effect.Effect<Receipt, WriteError>
  /** One result per item, in order; items that share nothing but the commit. At most `MAX_BATCH_ITEMS`. */
  readonly submitMany: (
    items: ReadonlyArray<SubmitItem>,
    options?: Omit<SubmitOptions, "expectedVersion">
  ) => Effect.Effect<ReadonlyArray<SubmitResult>, WriteError>
  readonly delete: (id: string, options?: DeleteOptions) => Effect.Effect<Receipt, WriteError>
  readonly deleteMany: (
    ids: ReadonlyArray<string>,
    options?: Omit<DeleteOptions, "expectedVersion" | "version">
  ) => Effect.Effect<ReadonlyArray<SubmitResult>, WriteError>
}
