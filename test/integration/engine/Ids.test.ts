/** Ids that a sloppy tier would merge, or take for a pattern, stay apart in all of them. */
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, Option, Redacted, Scope, Stream } from "effect"
import { inject } from "vitest"
import { compareBytes } from "../../../src/merkle/ByteOrder.js"
import { textOf } from "../../../src/SyncItem.js"
import { freshDatabase } from "../archive/mysql.js"
import { type RealEngine, startEngine, temporaryDirectory } from "./support.js"
import { cacheOf, privateRedis, proven } from "./tiers.js"

const alike: ReadonlyArray<string> = [
  ...["user", "User", "USER", "üser", "üser", "Üser", "user ", "user  ", " user", "user\u00a0"],
  ...[
    "us_r",
    "us%r",
    "us%",
    "_ser",
    "%",
    "_",
    "us*r",
    "us?r",
    "us[e]r",
    "us\\er",
    "us\\%r",
    "us'r",
    'us"r',
    "us`r"
  ],
  ...["ß", "ss", "SS", "ſ", "s", "S", "ı", "i", "I", "İ", "K", "K", "k", "Å", "Å", "A", "a", "ª"],
  ...[
    "\u{1f600}",
    "\ufffd",
    "\uffff",
    "日本",
    "日本語",
    "user:1",
    "user/1",
    "item:user",
    "tree:",
    "{user}",
    "-",
    "+",
    "(",
    "["
  ]
]

/** Every one as an item, as a prefix with items below it, and below a common prefix. */
const ids = [...new Set(alike)].flatMap((name) => [name, `${name}.1`, `${name}.1.x`, `all.${name}`])

const ascending = (list: ReadonlyArray<string>) => [...list].sort(compareBytes)
const below = (prefix: string, among: ReadonlyArray<string> = ids) =>
  ascending(among.filter((id) => id === prefix || id.startsWith(`${prefix}.`)))
const textsOf = (id: string) => `content of ${JSON.stringify(id)}`

const scan = (engine: RealEngine, prefix: string) =>
  Effect.map(Stream.runCollect(engine.service.scanPrefix(prefix)), (found) =>
    Chunk.toReadonlyArray(found).map(({ id }) => id)
  )

/** Everything that takes ids and prefixes, over an engine that was given all of them. */
const apart = (engine: RealEngine, restarted: Effect.Effect<RealEngine, unknown, never>) =>
  Effect.gen(function* () {
    const results = yield* engine.service.submitMany(
      ids.map((id, at) => ({ id, content: textsOf(id), state: at % 2 === 0 ? "even" : "odd" }))
    )
    expect(results.filter(({ _tag }) => _tag === "Rejected")).toEqual([])
    const check = (serving: RealEngine) =>
      Effect.gen(function* () {
        for (const id of ids) {
          const found = yield* serving.service.get(id)
          expect([id, Option.getOrUndefined(Option.map(found, textOf))]).toEqual([id, textsOf(id)])
          expect([id, Option.getOrUndefined(found)?.id]).toEqual([id, id])
        }
        const many = yield* serving.service.getMany(ids)
        expect(many.size).toBe(ids.length)
        expect(yield* serving.service.countPrefix("")).toBe(ids.length)
        for (const name of new Set(alike)) {
          expect([name, yield* serving.service.countPrefix(name)]).toEqual([name, 3])
          expect([name, yield* scan(serving, name)]).toEqual([name, below(name)])
        }
        expect(yield* scan(serving, "all")).toEqual(below("all"))
        expect(yield* scan(serving, "")).toEqual(ascending(ids))
        const children: Array<string> = []
        for (let after: { name: string; kind: "branch" | "leaf" } | undefined; ; ) {
          const page = yield* serving.service.merkleChildren("", { after, limit: 7 })
          children.push(...page.map(({ kind, name }) => `${name}\n${kind}`))
          if (page.length < 7) break
          after = page.at(-1)
        }
        const names = [...new Set(alike)]
        expect(children).toEqual(
          ascending([...names.flatMap((name) => [`${name}\nbranch`, `${name}\nleaf`]), "all\nbranch"])
        )
        expect(yield* serving.service.countByState("even")).toBe(Math.ceil(ids.length / 2))
      })
    // From memory and log, from the tiers below, and by an engine that has nothing in memory.
    yield* check(engine)
    yield* engine.service.flush
    yield* check(engine)
    expect((yield* engine.service.verify()).inSync).toBe(true)
    yield* engine.service.shutdown
    const next = yield* restarted
    yield* check(next)

    // An item that is also a prefix goes alone; what is below it stays, and the other way round.
    yield* next.service.delete("user")
    expect(Option.isNone(yield* next.service.get("user"))).toBe(true)
    expect(yield* scan(next, "user")).toEqual(["user.1", "user.1.x"])
    expect(Option.isSome(yield* next.service.getVerified("user.1"))).toBe(true)
    yield* next.service.delete("User.1")
    expect(yield* scan(next, "User")).toEqual(["User", "User.1.x"])
    expect(Option.map(yield* next.service.getVerified("User"), textOf)).toEqual(Option.some(textsOf("User")))
    expect((yield* next.service.verify()).inSync).toBe(true)
    let left = ids.filter((id) => id !== "user" && id !== "User.1")
    for (const prefix of ["%", "_", "us%", "us_r", "user ", "ss", "A", "us*r", "all.%", "日本"]) {
      const gone = below(prefix, left)
      expect([prefix, yield* next.service.deletePrefix(prefix)]).toEqual([prefix, gone.length])
      left = left.filter((id) => !gone.includes(id))
      expect([prefix, yield* scan(next, "")]).toEqual([prefix, ascending(left)])
    }
    expect((yield* next.service.verify()).inSync).toBe(true)
    return { next, left }
  })

describe("ids that look alike", () => {
  it.scopedLive("stay apart in memory, Redis and MariaDB", () =>
    Effect.gen(function* () {
      const redis = yield* privateRedis()
      const sql = Redacted.value(yield* freshDatabase(inject("mysqlUrl")))
      const scope = yield* Effect.scope
      const options = { dataDir: yield* temporaryDirectory, sql, redis: redis.url }
      const { left, next } = yield* apart(
        yield* startEngine(options),
        Effect.provideService(startEngine({ ...options, l1MaxBytes: 0 }), Scope.Scope, scope)
      )
      const cache = yield* cacheOf(redis.url)
      const cached = yield* cache.getMany(ids)
      expect(ascending(cached.filter(({ deleted }) => !deleted).map(({ id }) => id))).toEqual(ascending(left))
      const { archive, cache: cacheRoot, inSync } = yield* proven(next, redis.url)
      expect({ inSync, cacheRoot }).toEqual({ inSync: true, cacheRoot: archive })
    })
  )

  it.scopedLive("stay apart in memory and SQLite", () =>
    Effect.gen(function* () {
      const scope = yield* Effect.scope
      const options = { dataDir: yield* temporaryDirectory }
      const { left, next } = yield* apart(
        yield* startEngine(options),
        Effect.provideService(startEngine({ ...options, l1MaxBytes: 0 }), Scope.Scope, scope)
      )
      expect(yield* next.service.countPrefix("")).toBe(left.length)
    })
  )
})
