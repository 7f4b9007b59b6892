/** A backend over an engine in this process. */
import { Chunk, Duration, Effect, Option, Stream } from "effect"
import type { EngineConfig } from "../../config/Model.js"
import {
  deadLetterBody,
  encodeFlushed,
  repairBody,
  shutdownBody,
  statusBody,
  verifyBody
} from "../../http/api/ApiSchemas.js"
import type { SyncEngineApi } from "../../SyncEngine.js"
import { checkReport } from "../app/ShutdownReport.js"
import { type Backend, isBelow } from "./Backend.js"
import { EngineFactory } from "./EngineFactory.js"

const deadLetterPage = 1_000

const make = (engine: SyncEngineApi, where: string): Backend => ({
  where,
  submitMany: (items, durability) => {
    // All items of one call share the time to live of the first.
    const seconds = items[0]?.ttlSeconds
    return engine.submitMany(
      items.map(({ item }) => item),
      { ...(seconds === undefined ? {} : { sql: false, ttl: Duration.seconds(seconds) }), durability }
    )
  },
  submit: engine.submit,
  get: engine.get,
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
  flush: Effect.map(engine.flush, encodeFlushed),
  root: engine.merkleRoot,
  drain: engine.drain,
  shutdown: Effect.map(engine.shutdown, shutdownBody),
  deadLetters: {
    list: Stream.paginateChunkEffect(0, (after) =>
      Effect.map(engine.deadLetters.list({ after, limit: deadLetterPage }), (letters) => [
        Chunk.unsafeFromArray(letters.map(deadLetterBody)),
        Option.map(Option.fromNullable(letters.at(-1)), ({ sequence }) => sequence)
      ])
    ),
    retry: engine.deadLetters.retry,
    drop: engine.deadLetters.drop
  }
})

/**
 * Starts an engine, which closing the scope shuts down. `close` does so at once and says what was left undone; it is
 * idempotent.
 */
export const open = Effect.fnUntraced(function* (config: EngineConfig) {
  const engines = yield* EngineFactory
  const handle = yield* engines.make(config)
  yield* handle.start
  return {
    backend: make(handle.engine, config.dataDir),
    close: Effect.flatMap(handle.shutdown, checkReport)
  }
})
