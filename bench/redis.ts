/**
 * Concurrent `get`s that Redis answers, against ioredis `GET`s of the same bytes.
 */
import { Effect, Exit, Redacted, Runtime } from "effect"
import { Redis } from "ioredis"
import type { Fixtures } from "./fixtures.js"
import { contentBytes, grouped } from "./fixtures.js"
import { probedEngine } from "./probe.js"
import type { Line } from "./support.js"
import {
  atLeast,
  atMost,
  contentOf,
  distinct,
  information,
  inTurn,
  seeded,
  temporaryDirectory
} from "./support.js"

const reads = 1000
const batchItems = 1000

const sizesOf = (small: boolean) => (small ? { items: 5_000, rounds: 3 } : { items: 50_000, rounds: 25 })

export const redis = (fixtures: Fixtures): Effect.Effect<ReadonlyArray<Line>, unknown> =>
  Effect.gen(function* () {
    const { items, rounds } = sizesOf(fixtures.small)
    const directory = yield* temporaryDirectory
    const redisUrl = yield* fixtures.redis
    const client = yield* Effect.acquireRelease(
      Effect.sync(() => new Redis(redisUrl)),
      (made) => Effect.sync(() => made.disconnect())
    )
    // Memory holds a few dozen items: what is asked for is almost never among them.
    const { engine, probe } = yield* probedEngine({
      dataDir: directory,
      redisUrl: Redacted.make(redisUrl),
      l1MaxBytes: 16 * 1024
    })
    const idOf = (number: number) => `bench.${number % 97}.${number}`
    const usedMemory = Effect.tryPromise(async () =>
      Number(/^used_memory:(\d+)/m.exec(await client.info("memory"))![1])
    )
    const emptyBytes = yield* usedMemory
    for (let from = 0; from < items; from += batchItems) {
      const numbers = Array.from({ length: Math.min(batchItems, items - from) }, (_, index) => from + index)
      const contents = numbers.map((number) => contentOf(number, contentBytes))
      yield* engine.submitMany(
        numbers.map((number, index) => ({ id: idOf(number), content: contents[index]! }))
      )
    }
    yield* engine.flush
    const usedBytes = (yield* usedMemory) - emptyBytes
    for (let from = 0; from < items; from += batchItems) {
      yield* Effect.tryPromise(async () => {
        const pipeline = client.pipeline()
        for (let number = from; number < Math.min(items, from + batchItems); number++) {
          pipeline.set(`raw:${idOf(number)}`, contentOf(number, contentBytes) as Buffer)
        }
        await pipeline.exec()
      })
    }
    if (!(yield* engine.health).cache.trusted) return yield* Effect.die(new Error("the cache is not trusted"))

    const random = seeded(2)
    let ids: ReadonlyArray<string> = []
    let found = 0
    const prepare = Effect.sync(() => {
      ids = distinct(random, reads, items).map(idOf)
    })
    const oneByOne = Effect.tryPromise(async () => {
      for (const id of ids) if ((await client.getBuffer(`raw:${id}`)) !== null) found++
    })
    const together = Effect.tryPromise(async () => {
      for (const value of await Promise.all(ids.map((id) => client.getBuffer(`raw:${id}`)))) {
        if (value !== null) found++
      }
    })
    const counted = (id: string) =>
      Effect.map(engine.get(id), (item) => {
        if (item._tag === "Some") found++
      })
    // A fiber a get, begun as a server begins a request.
    const fork = Runtime.runFork(yield* Effect.runtime<never>())
    const fibers = (effectOf: (id: string) => Effect.Effect<void, unknown>) =>
      Effect.async<void, unknown>((resume) => {
        let open = ids.length
        for (const id of ids) {
          fork(effectOf(id)).addObserver((exit) => {
            if (Exit.isFailure(exit)) resume(exit)
            else if (--open === 0) resume(Effect.void)
          })
        }
      })
    const byFibers = fibers(counted)
    const byForEach = Effect.suspend(() =>
      Effect.forEach(ids, counted, { concurrency: "unbounded", discard: true })
    )
    const byGetMany = Effect.suspend(() =>
      Effect.map(engine.getMany(ids), ({ size }) => {
        found += size
      })
    )
    // What the fibers cost by themselves: each waits for the next turn and ends.
    const nextTurn = Effect.async<void>((resume) => {
      if (waiting.push(() => resume(Effect.void)) > 1) return
      setImmediate(() => {
        const ready = waiting
        waiting = []
        for (const wake of ready) wake()
      })
    })
    let waiting: Array<() => void> = []
    const idleFibers = fibers(() => nextTurn)
    const idleForEach = Effect.suspend(() =>
      Effect.forEach(ids, () => nextTurn, { concurrency: "unbounded", discard: true })
    )
    const itemBytes = yield* Effect.tryPromise(async () => {
      const sizes = await Promise.all(
        distinct(seeded(3), 100, items).map((n) => client.memory("USAGE", `sync-engine:item:${idOf(n)}`))
      )
      return sizes.reduce<number>((sum, size) => sum + size!, 0) / sizes.length
    })
    const hitsBefore = (yield* engine.stats).memory.hits
    probe.reset()
    const contenders = [oneByOne, together, byFibers, byForEach, byGetMany, idleFibers, idleForEach]
    const medians = yield* inTurn(rounds, contenders, prepare)
    const [oneByOneMs, togetherMs, fibersMs, forEachMs, getManyMs, idleFibersMs, idleForEachMs] = medians
    const asked = reads * (rounds + 1)
    if (found !== 5 * asked) return yield* Effect.die(new Error("a read found nothing"))
    if (probe.archiveIds.length > 0) return yield* Effect.die(new Error("the archive was asked"))
    const fromMemory = (yield* engine.stats).memory.hits - hitsBefore
    const perSecond = (ms: number) => grouped((reads * 1000) / ms)
    const inMs = (ms: number) => `${ms.toFixed(1)} ms`
    return [
      atLeast(
        "1,000 concurrent gets from Redis, over one by one",
        oneByOneMs! / fibersMs!,
        2,
        `${perSecond(fibersMs!)} over ${perSecond(oneByOneMs!)} reads/s of ioredis GETs, each waited for; a fiber a get (Runtime.runFork), which by themselves take ${inMs(idleFibersMs!)} of the ${inMs(fibersMs!)}; ${((100 * fromMemory) / (3 * asked)).toFixed(2)} % answered by memory, none by SQL; 256 B, every value checked against its hash`
      ),
      information(
        "  the same by Effect.forEach, unbounded",
        (oneByOneMs! / forEachMs!).toFixed(2),
        `${perSecond(forEachMs!)} reads/s; its 1,000 fibers by themselves take ${inMs(idleForEachMs!)} of the ${inMs(forEachMs!)}`
      ),
      information(
        "  the same ids by one getMany",
        (oneByOneMs! / getManyMs!).toFixed(2),
        `${perSecond(getManyMs!)} reads/s`
      ),
      atLeast(
        "1,000 concurrent gets from Redis, over 1,000 GETs sent at once",
        togetherMs! / fibersMs!,
        0.6,
        `which ioredis sends without waiting and checks nothing of: ${perSecond(togetherMs!)} reads/s (Promise.all)`
      ),
      information(
        "  one getMany over the same GETs",
        (togetherMs! / getManyMs!).toFixed(2),
        "every value checked"
      ),
      atMost(
        "Redis memory of an item",
        itemBytes,
        460,
        " B",
        `MEMORY USAGE of the key, ${contentBytes} B of content; ${Math.round(usedBytes / items)} B an item of all that the server uses, the tree and its lists of names among it`
      )
    ]
  }).pipe(Effect.scoped)
