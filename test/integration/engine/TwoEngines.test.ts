/** Two engines with logs of their own on one MariaDB and one Redis. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Either, Option, Redacted } from "effect"
import { inject } from "vitest"
import { textOf } from "../../../src/SyncItem.js"
import { seeded } from "../../cache/records.js"
import { freshDatabase } from "../archive/mysql.js"
import { eventually, type RealEngine, startEngine, temporaryDirectory } from "./support.js"
import { cacheOf, isWell, privateRedis, proven } from "./tiers.js"

interface Written {
  readonly version: number
  readonly text: string | undefined
}

/** Writes and deletes ids that the other engine writes too; answers the newest acknowledged version of each. */
const scribble = (engine: RealEngine, name: string, seed: number, rounds: number) =>
  Effect.gen(function* () {
    const below = seeded(seed)
    const newest = new Map<string, Written>()
    const note = (id: string, written: Written) => {
      const known = newest.get(id)
      if (known === undefined || known.version < written.version) newest.set(id, written)
    }
    for (let round = 0; round < rounds; round++) {
      const ids = [...new Set(Array.from({ length: 40 }, () => `shared.${below(4)}.${below(60)}`))]
      // In an order of its own: locks are the archive's business.
      const writes = ids.map((id) => ({ id, content: `${name} ${round} ${id}` }))
      const results = yield* engine.service.submitMany(writes)
      for (const [index, result] of results.entries()) {
        if (result._tag === "Rejected") return yield* Effect.die(result.error)
        note(result.receipt.id, { version: result.receipt.version, text: writes[index]!.content })
      }
      if (round % 3 === 0) {
        const id = ids[below(ids.length)]!
        const { version } = yield* engine.service.delete(id)
        note(id, { version, text: undefined })
      }
      if (round % 4 === 0) yield* engine.service.flush
      if (round % 5 === 0) yield* engine.service.get(`shared.${below(4)}.${below(60)}`)
    }
    yield* engine.service.flush
    return newest
  })

describe("two engines on one MariaDB and one Redis", () => {
  it.scopedLive(
    "writing the same ids at once: every tier has the newest version, no deadlock surfaces, nothing is denied",
    () =>
      Effect.gen(function* () {
        const sql = Redacted.value(yield* freshDatabase(inject("mysqlUrl")))
        const redis = yield* privateRedis()
        const options = {
          sql,
          redis: redis.url,
          healthInterval: 300,
          batchFlushCount: 30,
          batchFlushInterval: 10
        }
        const one = yield* startEngine({ ...options, dataDir: yield* temporaryDirectory })
        const two = yield* startEngine({ ...options, dataDir: yield* temporaryDirectory })
        const results = yield* Effect.all([scribble(one, "one", 1, 80), scribble(two, "two", 2, 80)], {
          concurrency: 2
        })
        const newest = new Map<string, Written>()
        const tied = new Set<string>()
        for (const result of results) {
          for (const [id, written] of result) {
            const known = newest.get(id)
            if (known === undefined || known.version < written.version) newest.set(id, written)
            // Two nodes may give one number in the same millisecond: the archive takes one of the two.
            else if (known.version === written.version && known.text !== written.text) tied.add(id)
          }
        }
        expect(newest.size).toBeGreaterThan(200)
        const cache = yield* cacheOf(redis.url)
        yield* eventually(
          "both are well and the roots agree",
          Effect.map(
            Effect.either(Effect.all([isWell(one), isWell(two), cache.root, one.service.merkleRoot])),
            (answer) =>
              Either.isRight(answer) &&
              answer.right[0] &&
              answer.right[1] &&
              answer.right[2] === answer.right[3]
          )
        )
        for (const engine of [one, two]) {
          const { archive, cache: cacheRoot, inSync } = yield* proven(engine, redis.url)
          expect({ inSync, cacheRoot }).toEqual({ inSync: true, cacheRoot: archive })
          const stats = yield* engine.service.stats
          expect(stats).toMatchObject({ pending: 0, deadLetters: 0, flushFailures: 0 })
        }
        // What lost against the other's newer version was counted, so both really met.
        const superseded = (yield* one.service.stats).superseded + (yield* two.service.stats).superseded
        expect(superseded).toBeGreaterThan(0)
        const fresh = yield* startEngine({ ...options, dataDir: yield* temporaryDirectory })
        for (const [id, written] of newest) {
          const { version } = written
          const winner = tied.has(id) ? yield* one.service.getVerified(id) : undefined
          const text = winner === undefined ? written.text : Option.getOrUndefined(Option.map(winner, textOf))
          // Memory, archive (mended by the comparison), an engine that has never seen the id, and Redis.
          for (const found of [
            yield* one.service.getVerified(id),
            yield* two.service.getVerified(id),
            yield* one.service.get(id),
            yield* two.service.get(id),
            yield* fresh.service.get(id)
          ]) {
            expect([id, Option.getOrUndefined(Option.map(found, textOf))]).toEqual([id, text])
          }
          const cached = Option.getOrUndefined(yield* cache.get(id))
          if (text === undefined) expect(cached === undefined || cached.deleted).toBe(true)
          else expect([id, cached?.version]).toEqual([id, version])
          if (text !== undefined) {
            expect(yield* one.service.definitelyMissing(id)).toBe(false)
            expect(yield* two.service.definitelyMissing(id)).toBe(false)
          }
        }
        expect(tied.size).toBeLessThan(newest.size / 4)
        const live = [...newest].filter(([id, { text }]) => !tied.has(id) && text !== undefined).length
        for (const { service } of [one, two]) {
          const counted = yield* service.countPrefix("shared")
          expect(counted).toBeGreaterThanOrEqual(live)
          expect(counted).toBeLessThanOrEqual(live + tied.size)
        }
      })
  )

  it.scopedLive(
    "one leaves in the middle and comes back: its log arrives, older than the other's or not",
    () =>
      Effect.gen(function* () {
        const sql = Redacted.value(yield* freshDatabase(inject("mysqlUrl")))
        const redis = yield* privateRedis()
        const dataDir = yield* temporaryDirectory
        const first = yield* startEngine({ dataDir, sqlUrl: Redacted.make("none") })
        yield* first.service.submitMany([
          { id: "only.first", content: "first" },
          { id: "both", content: "older" }
        ])
        yield* first.service.shutdown
        const second = yield* startEngine({
          dataDir: yield* temporaryDirectory,
          sql,
          redis: redis.url,
          healthInterval: 300
        })
        yield* second.service.submit({ id: "both", content: "newer" })
        yield* second.service.delete("only.first.below")
        yield* second.service.flush
        const back = yield* startEngine({ dataDir, sql, redis: redis.url, healthInterval: 300 })
        expect(Option.map(yield* back.service.get("both"), textOf)).toEqual(Option.some("newer"))
        expect(Option.map(yield* second.service.get("only.first"), textOf)).toEqual(Option.some("first"))
        expect(yield* second.service.definitelyMissing("only.first")).toBe(false)
        const { archive, cache, inSync } = yield* proven(back, redis.url)
        expect({ inSync, cache }).toEqual({ inSync: true, cache: archive })
      })
  )
})
