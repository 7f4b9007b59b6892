/** Items in Redis: guarded writes, reads, removals. Plain asynchronous code; failures are `CacheError`s. */
import type { ItemHead, ItemRecord } from "../SyncItem.js"
import type { CachedRecord, PutMode, PutResult, Removal } from "./Cache.js"
import type { RedisConnection } from "./RedisConnection.js"
import { script } from "./RedisScript.js"
import { type Field, headIn, recordIn, textIn } from "./ReplyDecoder.js"
import { packIds, packRecords, packRemovals } from "./ScriptArguments.js"
import { putScript, removeScript } from "./scripts.js"
import { headsScript, readScript } from "./scriptsRead.js"

const putLua = script(putScript)
const removeLua = script(removeScript)
const readLua = script(readScript)
const headsLua = script(headsScript)

/** Bounds of one command. */
export interface ChunkLimits {
  readonly maxItems: number
  readonly maxBytes: number
}

/** Ids a read takes in one command, unless their contents exceed the bytes. */
export const readBatch = 500

const headsBatch = 1_000
const removeBatch = 500

const maxReadBytes = 4 * 1024 * 1024
const maxRemembered = 1_000

/**
 * Runs calls in order with at most two under way, so that the client packs the next chunk while the server works
 * on this one. `next` returns `undefined` at the end.
 */
const inTurns = async <A>(
  next: () => Promise<A> | undefined,
  each: (answer: A) => void,
  signal: AbortSignal
): Promise<void> => {
  const underWay: Array<Promise<A>> = []
  for (;;) {
    while (underWay.length < 2 && !signal.aborted) {
      const call = next()
      if (call === undefined) break
      call.catch(() => {})
      underWay.push(call)
    }
    const oldest = underWay.shift()
    if (oldest === undefined) return
    each(await oldest)
  }
}

export class RedisItems {
  hits = 0
  misses = 0
  corrupted = 0
  foreign = 0
  private readonly remembered = new Set<string>()

  constructor(
    private readonly connection: RedisConnection,
    private readonly limits: ChunkLimits,
    private readonly tombstoneTtlMs: number,
    private readonly nextEpoch: () => string
  ) {}

  async put(
    operation: PutMode,
    records: ReadonlyArray<ItemRecord>,
    ttlMs: number,
    signal: AbortSignal
  ): Promise<PutResult> {
    let from = 0
    let applied = 0
    let same = 0
    const newer: Array<ItemHead> = []
    await inTurns(
      () => {
        if (from >= records.length) return undefined
        const chunk = packRecords(records, from, this.limits, ttlMs === 0)
        from += chunk.count
        return this.connection.run(operation, putLua, [
          operation,
          ttlMs,
          this.tombstoneTtlMs,
          this.nextEpoch(),
          chunk.data
        ])
      },
      (reply) => {
        const [written, again, foreign, heads] = reply as [number, number, number, ReadonlyArray<Field>]
        applied += written
        same += again
        this.foreign += foreign
        for (let i = 0; i < heads.length; i += 2) {
          const head = headIn(textIn(heads[i]), heads[i + 1])
          if (typeof head === "object") newer.push(head)
        }
      },
      signal
    )
    return { applied, same, newer }
  }

  async getMany(ids: ReadonlyArray<string>, signal: AbortSignal): Promise<Array<CachedRecord>> {
    const distinct = [...new Set(ids)]
    const found: Array<CachedRecord> = []
    let from = 0
    await inTurns(
      () => {
        if (from >= distinct.length) return undefined
        const to = Math.min(from + readBatch, distinct.length)
        const batch = distinct.slice(from, to)
        from = to
        return this.getBatch(batch)
      },
      (records) => {
        for (const record of records) found.push(record)
      },
      signal
    )
    return found
  }

  /** Reads distinct ids, a batch at most; in more than one command when the contents are large. */
  async getBatch(ids: ReadonlyArray<string>): Promise<Array<CachedRecord>> {
    const found: Array<CachedRecord> = []
    let at = 0
    while (at < ids.length) {
      const reply = (await this.connection.run("get", readLua, [
        maxReadBytes,
        packIds(ids, at, ids.length)
      ])) as ReadonlyArray<Field>
      if (reply.length < 3) throw new TypeError("the server answered a read with nothing")
      for (let i = 0; i < reply.length; i += 3) {
        const id = ids[at++]!
        const record = reply[i] === 0 ? "foreign" : recordIn(id, reply[i], reply[i + 1])
        if (typeof record === "object") {
          this.hits += 1
          found.push(record.deleted || reply[i + 2] === 1 ? record : { ...record, volatile: true })
        } else {
          this.misses += 1
          this.tell(id, record)
        }
      }
    }
    return found
  }

  async heads(ids: ReadonlyArray<string>, signal: AbortSignal): Promise<Array<ItemHead>> {
    const distinct = [...new Set(ids)]
    const found: Array<ItemHead> = []
    let from = 0
    let answered = 0
    await inTurns(
      () => {
        if (from >= distinct.length) return undefined
        const to = Math.min(from + headsBatch, distinct.length)
        const data = packIds(distinct, from, to)
        from = to
        return this.connection.run("heads", headsLua, [data])
      },
      (reply) => {
        for (const m of reply as ReadonlyArray<Field>) {
          const id = distinct[answered++]!
          const head = m === 0 ? "foreign" : headIn(id, m)
          if (typeof head === "object") found.push(head)
          else this.tell(id, head)
        }
      },
      signal
    )
    return found
  }

  async remove(targets: ReadonlyArray<Removal>, signal: AbortSignal): Promise<number> {
    let from = 0
    let removed = 0
    await inTurns(
      () => {
        if (from >= targets.length) return undefined
        const to = Math.min(from + removeBatch, targets.length)
        const data = packRemovals(targets, from, to)
        from = to
        return this.connection.run("delete", removeLua, [this.nextEpoch(), data])
      },
      (gone) => {
        removed += gone as number
      },
      signal
    )
    return removed
  }

  takeCorrupted(): ReadonlyArray<string> {
    const ids = [...this.remembered]
    this.remembered.clear()
    return ids
  }

  private tell(id: string, what: "absent" | "corrupted" | "foreign"): void {
    if (what === "absent") return
    if (what === "foreign") {
      this.foreign += 1
      return
    }
    this.corrupted += 1
    if (this.remembered.size < maxRemembered) this.remembered.add(id)
  }
}
