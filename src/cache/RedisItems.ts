/** Items in Redis: reading them; and the stream of their changes. */
import { Effect, Exit, Option } from "effect"
import type { ItemHead } from "../SyncItem.js"
import type { CachedRecord, CacheError, CacheService, PositionedChange } from "./Cache.js"
import { recordIn, valueHeadIn } from "./ItemValue.js"
import { headsScript, readChangesScript, readScript } from "./ReadScripts.js"
import type { RedisConnection } from "./RedisConnection.js"
import { bytesIn, type Field, textIn } from "./ReplyDecoder.js"
import { encodeChanges, encodeIds } from "./ScriptArguments.js"
import { appendChangesScript } from "./WriteScripts.js"

/** Ids a read takes in one command, unless their contents exceed the bytes. */
export const readBatch = 500

const headsBatch = 1_000

const maxReadBytes = 4 * 1024 * 1024
const maxRemembered = 1_000

/**
 * Runs a call for each part, in order with at most two under way, so that the client encodes the next part while the
 * server works on this one.
 */
export const inTurns = <A, B>(
  parts: ReadonlyArray<A>,
  call: (part: A) => Effect.Effect<B, CacheError>
): Effect.Effect<Array<B>, CacheError> => Effect.forEach(parts, call, { concurrency: 2 })

export const batchesOf = <A>(all: ReadonlyArray<A>, size: number): Array<ReadonlyArray<A>> =>
  Array.from({ length: Math.ceil(all.length / size) }, (_, n) => all.slice(n * size, n * size + size))

export class RedisItems {
  private corrupted = new Set<string>()

  constructor(private readonly connection: RedisConnection) {}

  getMany(ids: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<CachedRecord>, CacheError> {
    return Effect.map(
      inTurns(batchesOf([...new Set(ids)], readBatch), (batch) => this.getBatch(batch)),
      (found) => found.flat()
    )
  }

  /** Reads distinct ids, a batch at most and one at least; in more than one command when the contents are large. */
  readonly getBatch = (ids: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<CachedRecord>, CacheError> =>
    Effect.suspend(() => {
      const found: Array<CachedRecord> = []
      let at = 0
      const next = this.connection.run(
        "get",
        readScript,
        () => [maxReadBytes, encodeIds(at === 0 ? ids : ids.slice(at))],
        (reply: ReadonlyArray<Field>) => {
          // Of one id at least: otherwise this would ask for the same ids for ever.
          const items = Array.isArray(reply) ? reply.length : 0
          if (items < 1 || items > ids.length - at) {
            throw new TypeError("the server returned nothing for a read")
          }
          for (const value of reply) {
            const id = ids[at++]!
            if (!(value instanceof Buffer)) continue
            const read = recordIn(id, value)
            if (read === undefined) this.remember(id)
            else if (read.epoch !== 0 || read.record.deleted) found.push(read.record)
            else found.push({ ...read.record, volatile: true })
          }
        }
      )
      return Effect.as(Effect.repeat(next, { while: () => at < ids.length }), found)
    })

  heads(ids: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<ItemHead>, CacheError> {
    const read = (batch: ReadonlyArray<string>) =>
      this.connection.run(
        "heads",
        headsScript,
        () => [encodeIds(batch)],
        (reply: ReadonlyArray<Field>) =>
          reply.flatMap((field, n): Array<ItemHead> => {
            const value = bytesIn(field)
            if (value.length === 0) return []
            const head = valueHeadIn(batch[n]!, value)
            if (head === undefined) {
              this.remember(batch[n]!)
              return []
            }
            const { contentHash, deleted, id, version } = head
            return [{ id, version, contentHash, deleted }]
          })
      )
    return Effect.map(inTurns(batchesOf([...new Set(ids)], headsBatch), read), (found) => found.flat())
  }

  takeCorrupted(): ReadonlyArray<string> {
    const ids = [...this.corrupted]
    this.corrupted = new Set()
    return ids
  }

  private remember(id: string): void {
    if (this.corrupted.size < maxRemembered) this.corrupted.add(id)
  }
}

type Found = Effect.Effect<Option.Option<CachedRecord>, CacheError>
type Waiter = (found: Found) => void

/**
 * Collects the single gets of one turn of the event loop and reads them together. No fiber, Deferred or timer per
 * item: a waiting get is one callback in a list.
 */
export class GetCoalescer {
  private waiting = new Map<string, Array<Waiter>>()

  /**
   * @param readMany reads the records of distinct ids; absent ones are left out
   * @param maxBatch how many ids one read takes at most
   */
  constructor(
    private readonly readMany: (
      ids: ReadonlyArray<string>
    ) => Effect.Effect<ReadonlyArray<CachedRecord>, CacheError>,
    private readonly maxBatch: number
  ) {}

  readonly get = (id: string): Found =>
    Effect.async((resume) => {
      const waiters = this.waiting.get(id)
      if (waiters !== undefined) {
        waiters.push(resume)
        return
      }
      this.waiting.set(id, [resume])
      if (this.waiting.size === 1) setImmediate(() => this.flush())
    })

  private flush(): void {
    const waiting = this.waiting
    this.waiting = new Map()
    const ids = [...waiting.keys()]
    for (let from = 0; from < ids.length; from += this.maxBatch) {
      const batch = ids.slice(from, from + this.maxBatch)
      Effect.runCallback(this.readMany(batch), { onExit: (exit) => resumeAll(batch, waiting, exit) })
    }
  }
}

const resumeAll = (
  ids: ReadonlyArray<string>,
  waiting: ReadonlyMap<string, ReadonlyArray<Waiter>>,
  exit: Exit.Exit<ReadonlyArray<CachedRecord>, CacheError>
): void => {
  if (Exit.isFailure(exit)) {
    const failure = Exit.failCause(exit.cause)
    for (const id of ids) for (const resume of waiting.get(id)!) resume(failure)
    return
  }
  const found = new Map(exit.value.map((record) => [record.id, Exit.succeed(Option.some(record))]))
  const none = Exit.succeed(Option.none<CachedRecord>())
  for (const id of ids) for (const resume of waiting.get(id)!) resume(found.get(id) ?? none)
}

const appendBatch = 500

/** The change stream, of what the archive has committed, at least once, in log order. After a failure a beginning of the entries may have been appended. */
export const appendChanges =
  (connection: RedisConnection): CacheService["appendChanges"] =>
  (entries, maxLength) =>
    Effect.forEach(
      batchesOf(entries, appendBatch),
      (batch) =>
        connection.run("appendChanges", appendChangesScript, () => [maxLength, encodeChanges(batch)]),
      { discard: true }
    )

/** Entries after a position, oldest first. */
export const readChanges =
  (connection: RedisConnection): CacheService["readChanges"] =>
  (after, count) =>
    connection.run(
      "readChanges",
      readChangesScript,
      () => [after === "" ? "-" : `(${after}`, count],
      (reply: ReadonlyArray<[Buffer, ReadonlyArray<Field>]>) =>
        reply.map(([position, fields]) => changeIn(textIn(position), fields))
    )

const changeIn = (position: string, fields: ReadonlyArray<Field>): PositionedChange => {
  const values = new Map<string, string>()
  for (let i = 0; i + 1 < fields.length; i += 2) values.set(textIn(fields[i]), textIn(fields[i + 1]))
  return {
    position,
    operation: values.get("op") === "DELETE" ? "DELETE" : "PUT",
    id: values.get("id") ?? "",
    version: Number(values.get("version")),
    contentHash: values.get("hash") ?? "",
    sequence: Number(values.get("seq"))
  }
}
