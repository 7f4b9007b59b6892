/** Items in Redis: guarded writes, reads, removals. */
import { Effect } from "effect"
import type { ItemHead, ItemRecord } from "../SyncItem.js"
import type { CachedRecord, CacheError, PutMode, PutResult, Removal } from "./Cache.js"
import { headsScript, readScript } from "./ReadScripts.js"
import type { RedisConnection } from "./RedisConnection.js"
import { type Field, headIn, recordIn, textIn } from "./ReplyDecoder.js"
import { type ChunkLimits, chunkStarts, encodeIds, encodeRecords, encodeRemovals } from "./ScriptArguments.js"
import { putScript, removeScript } from "./WriteScripts.js"

/** Ids a read takes in one command, unless their contents exceed the bytes. */
export const readBatch = 500

const headsBatch = 1_000
const removeBatch = 500

const maxReadBytes = 4 * 1024 * 1024
const maxRemembered = 1_000

/**
 * Runs a call for each part, in order with at most two under way, so that the client encodes the next part while the
 * server works on this one.
 */
const inTurns = <A, B>(
  parts: ReadonlyArray<A>,
  call: (part: A) => Effect.Effect<B, CacheError>
): Effect.Effect<Array<B>, CacheError> => Effect.forEach(parts, call, { concurrency: 2 })

const batchesOf = <A>(all: ReadonlyArray<A>, size: number): Array<ReadonlyArray<A>> =>
  Array.from({ length: Math.ceil(all.length / size) }, (_, n) => all.slice(n * size, n * size + size))

export class RedisItems {
  private corrupted = new Set<string>()

  constructor(
    private readonly connection: RedisConnection,
    private readonly limits: ChunkLimits,
    private readonly tombstoneTtlMs: number,
    private readonly nextEpoch: () => string
  ) {}

  put(
    mode: PutMode,
    records: ReadonlyArray<ItemRecord>,
    ttlMs: number
  ): Effect.Effect<PutResult, CacheError> {
    return Effect.suspend(() => {
      const starts = chunkStarts(records, this.limits)
      const parts = starts.map((from, n) => [from, starts[n + 1] ?? records.length] as const)
      const put = ([from, to]: readonly [number, number]) =>
        this.connection.run(
          mode,
          putScript,
          () => [
            mode,
            ttlMs,
            this.tombstoneTtlMs,
            this.nextEpoch(),
            encodeRecords(records, from, to, ttlMs === 0)
          ],
          putResult
        )
      return Effect.map(inTurns(parts, put), (results) => ({
        applied: results.reduce((sum, { applied }) => sum + applied, 0),
        same: results.reduce((sum, { same }) => sum + same, 0),
        newer: results.flatMap(({ newer }) => newer)
      }))
    })
  }

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
          if (reply.length < 3) throw new TypeError("the server returned nothing for a read")
          for (let i = 0; i < reply.length; i += 3) {
            const id = ids[at++]!
            const record = recordIn(id, reply[i], reply[i + 1])
            if (record === "corrupted") this.remember(id)
            else if (record !== "absent") {
              found.push(record.deleted || reply[i + 2] === 1 ? record : { ...record, volatile: true })
            }
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
          reply.flatMap((line, n) => {
            const id = batch[n]!
            const head = headIn(id, line)
            if (head === "corrupted") this.remember(id)
            return typeof head === "object" ? [head] : []
          })
      )
    return Effect.map(inTurns(batchesOf([...new Set(ids)], headsBatch), read), (found) => found.flat())
  }

  remove(targets: ReadonlyArray<Removal>): Effect.Effect<number, CacheError> {
    const remove = (batch: ReadonlyArray<Removal>) =>
      this.connection.run(
        "delete",
        removeScript,
        () => [this.nextEpoch(), encodeRemovals(batch)],
        (gone: number) => gone
      )
    return Effect.map(inTurns(batchesOf(targets, removeBatch), remove), (gone) =>
      gone.reduce((sum, one) => sum + one, 0)
    )
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

const putResult = ([applied, same, heads]: [number, number, ReadonlyArray<Field>]): PutResult => {
  const newer: Array<ItemHead> = []
  for (let i = 0; i < heads.length; i += 2) {
    const head = headIn(textIn(heads[i]), heads[i + 1])
    if (typeof head === "object") newer.push(head)
  }
  return { applied, same, newer }
}
