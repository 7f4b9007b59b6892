import { describe, expect, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import * as MemoryArchive from "../../src/archive/memory/MemoryArchive.js"
import * as InProcessCache from "../../src/cache/InProcessCache.js"
import { repairItems, resync } from "../../src/reconcile/Resync.js"
import { recordOf, tombstoneOf } from "../cache/records.js"

const tiers = Effect.gen(function* () {
  const archive = MemoryArchive.make()
  const { cache } = yield* InProcessCache.make()
  return { archive, cache }
})

const changed = (id: string) => [{ id, kind: "changed" as const }]
const versionIn = (found: Option.Option<{ readonly version: number }>) =>
  Option.getOrUndefined(Option.map(found, ({ version }) => version))

describe("repairing the cache while another node writes", () => {
  it.scoped("leaves alone what was archived and cached after the archive was asked", () =>
    Effect.gen(function* () {
      for (const before of [recordOf("a", 1), tombstoneOf("a", 1), undefined]) {
        const { archive, cache } = yield* tiers
        if (before !== undefined) yield* archive.commit([before])
        const other = Effect.orDie(
          Effect.zipRight(archive.commit([recordOf("a", 2)]), cache.put([recordOf("a", 2)]))
        )
        // The other node's write comes right behind the question to the archive.
        const raced = {
          ...archive,
          getMany: (ids: ReadonlyArray<string>) => Effect.zipLeft(archive.getMany(ids), other)
        }
        yield* repairItems(raced, cache, changed("a"))
        expect(versionIn(yield* cache.get("a"))).toBe(2)
        // And right behind the question to the cache.
        const later = Effect.orDie(
          Effect.zipRight(archive.commit([recordOf("a", 3)]), cache.put([recordOf("a", 3)]))
        )
        const racedAgain = {
          ...cache,
          heads: (ids: ReadonlyArray<string>) => Effect.zipLeft(cache.heads(ids), later)
        }
        yield* repairItems(archive, racedAgain, changed("a"))
        expect(versionIn(yield* cache.get("a"))).toBe(3)
        expect(yield* cache.root).toBe(yield* archive.root)
      }
    })
  )

  it.scoped("keeps the guard of a deletion against a slow reader's fill", () =>
    Effect.gen(function* () {
      const { archive, cache } = yield* tiers
      yield* cache.put([recordOf("a", 1)])
      yield* archive.commit([recordOf("a", 1), recordOf("b", 1)])
      yield* archive.commit([tombstoneOf("a", 2)])
      const result = yield* resync({ archive, cache, exclusively: (effect) => effect })
      expect(result).toMatchObject({ equal: true, written: 1, removed: 1 })
      yield* cache.fill([recordOf("a", 1)])
      const held = yield* cache.get("a")
      expect(Option.exists(held, ({ deleted }) => !deleted)).toBe(false)
      expect(yield* cache.root).toBe(yield* archive.root)
    })
  )

  it.scoped(
    "takes out what only the cache has, of a newer version or of the same one with a higher hash",
    () =>
      Effect.gen(function* () {
        const { archive, cache } = yield* tiers
        const [low, high] = [recordOf("a", 5, "one"), recordOf("a", 5, "two")].sort((x, y) =>
          x.contentHash < y.contentHash ? -1 : 1
        )
        yield* archive.commit([low!, recordOf("b", 1)])
        yield* cache.put([high!, recordOf("b", 9), recordOf("c", 1)])
        const result = yield* resync({ archive, cache, exclusively: (effect) => effect })
        expect(result).toMatchObject({ equal: true, rebuilt: false })
        expect(Option.getOrThrow(yield* cache.get("a")).contentHash).toBe(low!.contentHash)
        expect(versionIn(yield* cache.get("b"))).toBe(1)
        expect(Option.isNone(yield* cache.get("c"))).toBe(true)
      })
  )
})
