/** A backend over an engine in this process. */
import { Chunk, Duration, Effect, Option, Stream } from "effect"
import { deadLetterBody, repairBody, shutdownBody, verifyBody } from "../../http/api/Encode.js"
import { statusBody } from "../../http/api/StatusSchema.js"
import type { SyncEngineApi } from "../../SyncEngine.js"
import type { IngestItem } from "../ingest/IngestLine.js"
import type { Backend } from "./Backend.js"

const deadLetterPage = 1_000

/** Whether the id is the prefix itself or lies below it. */
export const isBelow = (id: string, prefix: string): boolean =>
  prefix === "" || id === prefix || id.startsWith(`${prefix}.`)

/** All items of one call share the time to live of the first. */
const optionsOf = (items: ReadonlyArray<IngestItem>) => {
  const seconds = items[0]?.ttlSeconds
  return seconds === undefined ? {} : { sql: false, ttl: Duration.seconds(seconds) }
}

export const make = (engine: SyncEngineApi, where: string): Backend => ({
  where,
  submitMany: (items, durability) =>
    engine.submitMany(
      items.map(({ item }) => item),
      { ...optionsOf(items), durability }
    ),
  submit: (item, options) => engine.submit(item, options),
  get: (id) => engine.get(id),
  delete: (id, options) => Effect.map(engine.delete(id, options), ({ version }) => Option.some(version)),
  scan: ({ limit, prefix, state }) => {
    const all =
      state === undefined
        ? engine.scanPrefix(prefix)
        : Stream.filter(engine.getByState(state), (item) => isBelow(item.id, prefix))
    return limit === undefined ? all : Stream.take(all, limit)
  },
  status: Effect.zipWith(engine.health, engine.stats, statusBody),
  verify: (options) => Effect.map(engine.verify(options), verifyBody),
  repair: (options) => Effect.map(engine.repair(options), repairBody),
  merkleSource: engine.merkleSource,
  flush: Effect.map(engine.flush, ({ deadLettered, flushed, pending }) => ({
    flushed,
    dead_lettered: deadLettered,
    pending
  })),
  root: engine.merkleRoot,
  drain: engine.drain,
  shutdown: Effect.map(engine.shutdown, shutdownBody),
  deadLetters: {
    list: Stream.paginateChunkEffect(0, (after) =>
      Effect.map(engine.deadLetters.list({ after, limit: deadLetterPage }), (letters) => {
        const last = letters[letters.length - 1]
        return [
          Chunk.unsafeFromArray(letters.map(deadLetterBody)),
          last === undefined ? Option.none() : Option.some(last.sequence)
        ] as const
      })
    ),
    retry: (sequences) => engine.deadLetters.retry(sequences),
    drop: (sequences) => engine.deadLetters.drop(sequences)
  }
})
