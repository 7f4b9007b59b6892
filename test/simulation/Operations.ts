/** What clients do: each operation says how it is called, what it means to write, and how its answer is judged. */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Durability, SubmitItem } from "../../src/engine/EngineService.js"
import type { SyncItem } from "../../src/SyncItem.js"
import { compareVersions } from "../../src/SyncItem.js"
import { type Call, type Intent, traceparentOf } from "./Call.js"
import * as Checks from "./Checks.js"
import type { Life } from "./Life.js"
import { headText } from "./Model.js"
import type { World } from "./World.js"

export interface Operation<A> {
  readonly text: string
  readonly intent?: Intent | undefined
  readonly effect: (call: Call) => Effect.Effect<A, unknown>
  /** Judges the answer and says it in a few words. */
  readonly judge: (call: Call, answer: A) => string
}

const operation = <A>(made: Operation<A>): Operation<unknown> => made as Operation<unknown>

const states = ["new", "done", undefined] as const
const prefixes = ["a", "b", "b.c", "a.b"] as const

const itemText = (item: SyncItem | undefined) =>
  item === undefined ? "absent" : headText({ ...item, deleted: false })

export const draw = (world: World, life: Life): Operation<unknown> => {
  const { chance, settings } = world
  const kinds: ReadonlyArray<readonly [number, (world: World, life: Life) => Operation<unknown>]> = [
    [22, submit],
    [8, submitMany],
    [9, remove],
    [3, removeMany],
    [5, setState],
    [2, deletePrefix],
    [2, deleteByState],
    [5, getOrInsert],
    [18, get],
    [6, getMany],
    [6, getVerified],
    [3, contains],
    [3, status],
    [3, isCurrent],
    [4, scanPrefix],
    [4, scanPages],
    [3, byState],
    [2, statePages],
    [3, countPrefix],
    [2, countByState],
    [2, stateIds],
    [3, merkleRoot],
    [1, verify],
    [4, flush],
    [3, tick],
    [settings.poison ? 3 : 0, letters]
  ]
  return chance.weighted(kinds)(world, life)
}

const durabilityOf = ({ chance, settings }: World): Durability =>
  chance.weighted<Durability>([
    [settings.memoryDurability ? 3 : 0, "memory"],
    [6, "wal"],
    [2, "archive"]
  ])

/** An own version where own versions hurt: around the newest one, near the clock's, tiny, or near the end. */
const ownVersion = (world: World, id: string): number | undefined => {
  const { chance, model, settings, turns } = world
  if (!settings.ownVersions || chance.bool(0.6)) return undefined
  const current = model.currentWithInFlight(id)?.version ?? 0
  return Math.min(
    Number.MAX_SAFE_INTEGER,
    Math.max(
      1,
      chance.pick([
        chance.between(1, 5),
        current + chance.between(-2, 3),
        current,
        turns.wallMs * 1024 + chance.between(-2_000_000, 2_000_000)
      ])
    )
  )
}

const contentOf = (world: World, call: number, index: number): Uint8Array | string => {
  const { chance } = world
  const kind = chance.int(12)
  if (kind === 0) return ""
  // The same bytes again and again: equal hashes.
  if (kind === 1) return "same"
  if (kind === 2) return Uint8Array.of(0xff, call & 0xff, index)
  return `{"call":${call},"index":${index},"pad":"${"x".repeat(chance.pick([0, 10, 60, 400]))}"}`
}

const expectedVersion = (world: World, id: string): number => {
  const current = world.model.currentWithInFlight(id)
  const actual = current === undefined || current.deleted ? 0 : current.version
  return world.chance.bool(0.75) ? actual : Math.max(0, actual + world.chance.pick([-1, 1]))
}

const poisonSometimes = (world: World, call: number): void => {
  if (world.settings.poison && !world.calm && world.chance.bool(0.06)) world.poisonCalls.add(call)
}

const submit = (world: World, life: Life): Operation<unknown> => {
  const { chance } = world
  const id = chance.pick(world.settings.ids)
  const durability = durabilityOf(world)
  const own = ownVersion(world, id)
  const state = chance.pick(states)
  const expected = chance.bool(0.15) ? expectedVersion(world, id) : undefined
  return operation({
    text: `submit ${id} ${durability}${own === undefined ? "" : ` v${own}`}${expected === undefined ? "" : ` if ${expected}`}`,
    intent: {
      durability,
      covers: (one) => one === id,
      signed: true,
      deletes: false,
      expected,
      own: () => own
    },
    effect: (call) => {
      poisonSometimes(world, call.number)
      return life.service.submit(
        {
          id,
          content: contentOf(world, call.number, 0),
          state,
          traceparent: traceparentOf(call.number),
          version: own
        },
        { durability, expectedVersion: expected }
      )
    },
    judge: (call, receipt) => {
      Checks.checkReceipt(world, call, receipt)
      return `${receipt.durability} ${receipt.version}`
    }
  })
}

const idsOf = (world: World, most: number): ReadonlyArray<string> =>
  Array.from({ length: world.chance.between(1, most) }, () => world.chance.pick(world.settings.ids))

const submitMany = (world: World, life: Life): Operation<unknown> => {
  const { chance } = world
  const ids = idsOf(world, 8)
  const durability = durabilityOf(world)
  const own = ids.map((id) => ownVersion(world, id))
  return operation({
    text: `submitMany ${ids.join(",")} ${durability}`,
    intent: {
      durability,
      covers: (one) => ids.includes(one),
      signed: true,
      deletes: false,
      times: ids.length,
      own: (index) => own[index]
    },
    effect: (call) => {
      poisonSometimes(world, call.number)
      const items = ids.map(
        (id, index): SubmitItem => ({
          id,
          content: contentOf(world, call.number, index),
          state: chance.pick(states),
          traceparent: traceparentOf(call.number, index),
          version: own[index]
        })
      )
      return life.service.submitMany(items, { durability })
    },
    judge: (call, results) => {
      Checks.checkResults(world, life, call, results, ids)
      return results
        .map((result) => (result._tag === "Rejected" ? result.error._tag : `${result.receipt.version}`))
        .join(",")
    }
  })
}

const remove = (world: World, life: Life): Operation<unknown> => {
  const { chance } = world
  const id = chance.pick(world.settings.ids)
  const durability = durabilityOf(world)
  const own = ownVersion(world, id)
  const expected = chance.bool(0.15) ? expectedVersion(world, id) : undefined
  return operation({
    text: `delete ${id} ${durability}${own === undefined ? "" : ` v${own}`}${expected === undefined ? "" : ` if ${expected}`}`,
    intent: {
      durability,
      covers: (one) => one === id,
      signed: true,
      deletes: true,
      expected,
      own: () => own
    },
    effect: (call) => {
      poisonSometimes(world, call.number)
      return life.service.delete(id, {
        durability,
        expectedVersion: expected,
        version: own,
        traceparent: traceparentOf(call.number)
      })
    },
    judge: (call, receipt) => {
      Checks.checkReceipt(world, call, receipt)
      return `${receipt.durability} ${receipt.version}`
    }
  })
}

const removeMany = (world: World, life: Life): Operation<unknown> => {
  const ids = idsOf(world, 4)
  const durability = durabilityOf(world)
  return operation({
    text: `deleteMany ${ids.join(",")} ${durability}`,
    intent: {
      durability,
      covers: (one) => ids.includes(one),
      signed: true,
      deletes: true,
      times: ids.length
    },
    effect: (call) => life.service.deleteMany(ids, { durability, traceparent: traceparentOf(call.number) }),
    judge: (call, results) => {
      Checks.checkResults(world, life, call, results, ids)
      return results.map((result) => result._tag).join(",")
    }
  })
}

const setState = (world: World, life: Life): Operation<unknown> => {
  const id = world.chance.pick(world.settings.ids)
  const state = world.chance.pick(states)
  const durability = durabilityOf(world)
  const expected = world.chance.bool(0.2) ? expectedVersion(world, id) : undefined
  return operation({
    text: `setState ${id} ${state} ${durability}${expected === undefined ? "" : ` if ${expected}`}`,
    intent: {
      durability,
      covers: (one) => one === id,
      signed: false,
      deletes: false,
      setsState: { state },
      expected
    },
    effect: () => life.service.setState(id, state, { durability, expectedVersion: expected }),
    judge: (call, receipt) => {
      if (Option.isNone(receipt)) {
        Checks.checkAbsent(world, call, id)
        return "absent"
      }
      Checks.checkReceipt(world, call, receipt.value)
      return `${receipt.value.durability} ${receipt.value.version}`
    }
  })
}

const bulkDelete = (
  world: World,
  text: string,
  covers: (id: string) => boolean,
  isIn: (id: string) => ReturnType<typeof Checks.inRange>,
  effect: Effect.Effect<number, unknown>
): Operation<unknown> =>
  operation({
    text,
    intent: { durability: "wal", covers, signed: false, deletes: true },
    effect: () => effect,
    judge: (call, count) => {
      for (const id of world.settings.ids) {
        const floor = call.floor(id)
        const known = Checks.candidates(world, call, id)
        if (!known.every((record) => record?.deleted === true || isIn(id)(record))) continue
        if (floor === undefined || floor.deleted) continue
        world.violations.require(
          known.some((record) => record?.deleted === true && compareVersions(record, floor) > 0),
          () => `#${call.number} (${text}) left ${id} ${headText(floor)}`
        )
      }
      return `${count} deleted`
    }
  })

const deletePrefix = (world: World, life: Life): Operation<unknown> => {
  const prefix = world.chance.pick(prefixes)
  return bulkDelete(
    world,
    `deletePrefix ${prefix}`,
    (id) => id === prefix || id.startsWith(`${prefix}.`),
    (id) => Checks.inRange(id, prefix, undefined),
    life.service.deletePrefix(prefix)
  )
}

const deleteByState = (world: World, life: Life): Operation<unknown> => {
  const state = world.chance.pick(["new", "done"])
  return bulkDelete(
    world,
    `deleteByState ${state}`,
    () => true,
    (id) => Checks.inRange(id, "", state),
    life.service.deleteByState(state)
  )
}

const getOrInsert = (world: World, life: Life): Operation<unknown> => {
  const id = world.chance.pick(world.settings.ids)
  const durability = durabilityOf(world)
  const slow = world.chance.bool(0.5)
  return operation({
    text: `getOrInsert ${id} ${durability}`,
    intent: { durability, covers: (one) => one === id, signed: true, deletes: false, expected: 0 },
    effect: (call) => {
      const make = Effect.acquireUseRelease(
        Effect.sync(() => {
          world.violations.require(!world.making.has(id), () => `two callers make ${id} at once`)
          world.making.add(id)
        }),
        () =>
          Effect.as(slow ? Effect.sleep(world.chance.between(1, 30)) : Effect.void, {
            content: contentOf(world, call.number, 0),
            traceparent: traceparentOf(call.number)
          }),
        () => Effect.sync(() => world.making.delete(id))
      )
      return life.service.getOrInsertWith(id, make, { durability })
    },
    judge: (call, item) => {
      Checks.checkItem(world, call, id, item)
      return itemText(item)
    }
  })
}

const get = (world: World, life: Life): Operation<unknown> => {
  const id = world.chance.pick(world.settings.ids)
  return single(world, `get ${id}`, id, life.service.get(id))
}

const getVerified = (world: World, life: Life): Operation<unknown> => {
  const id = world.chance.pick(world.settings.ids)
  return single(world, `getVerified ${id}`, id, life.service.getVerified(id))
}

const single = (
  world: World,
  text: string,
  id: string,
  effect: Effect.Effect<Option.Option<SyncItem>, unknown>
): Operation<unknown> =>
  operation({
    text,
    effect: () => effect,
    judge: (call, found) => {
      if (Option.isSome(found)) Checks.checkItem(world, call, id, found.value)
      else Checks.checkAbsent(world, call, id)
      return itemText(Option.getOrUndefined(found))
    }
  })

const getMany = (world: World, life: Life): Operation<unknown> => {
  const ids = idsOf(world, 6)
  return operation({
    text: `getMany ${ids.join(",")}`,
    effect: () => life.service.getMany(ids),
    judge: (call, found) => {
      for (const id of found.keys()) {
        world.violations.require(ids.includes(id), () => `#${call.number} answered ${id}, unasked`)
      }
      for (const id of ids) {
        const item = found.get(id)
        if (item === undefined) Checks.checkAbsent(world, call, id)
        else Checks.checkItem(world, call, id, item)
      }
      return ids.map((id) => itemText(found.get(id))).join(",")
    }
  })
}

const contains = (world: World, life: Life): Operation<unknown> => {
  const id = world.chance.pick(world.settings.ids)
  return operation({
    text: `contains ${id}`,
    effect: () => life.service.contains(id),
    judge: (call, found) => {
      if (!found) Checks.checkAbsent(world, call, id)
      else {
        world.violations.require(
          Checks.sometimes(world, call, id, Checks.inRange(id, "", undefined)) ||
            Checks.mayBeLogged(world, call, id),
          () => `#${call.number} says that ${id} is there`
        )
      }
      return String(found)
    }
  })
}

const status = (world: World, life: Life): Operation<unknown> => {
  const id = world.chance.pick(world.settings.ids)
  return operation({
    text: `status ${id}`,
    effect: () => life.service.status(id),
    judge: (call, found) => {
      const said = `#${call.number} says ${id} is ${found.state} ${found.version}`
      if (found.state === "absent") {
        Checks.checkAbsent(world, call, id)
        world.violations.require(found.version === undefined, () => said)
      } else {
        const fits = Checks.candidates(world, call, id).some(
          (record) =>
            record !== undefined &&
            record.version === found.version &&
            record.deleted === (found.state === "deleted") &&
            (record.deleted || record.contentHash === found.contentHash)
        )
        world.violations.require(fits, () => `${said}; it was ${headText(call.floor(id))} before`)
      }
      return `${found.state} ${found.version}`
    }
  })
}

const isCurrent = (world: World, life: Life): Operation<unknown> => {
  const id = world.chance.pick(world.settings.ids)
  const version = Math.max(1, expectedVersion(world, id))
  const holds = (record: { readonly version: number; readonly deleted: boolean } | undefined) =>
    record !== undefined && !record.deleted && record.version === version
  return operation({
    text: `isCurrent ${id} ${version}`,
    effect: () => life.service.isCurrent(id, version),
    judge: (call, answer) => {
      world.violations.require(
        Checks.sometimes(world, call, id, (record) => holds(record) === answer),
        () =>
          `#${call.number} says that ${version} is ${answer ? "" : "not "}current; ${headText(call.floor(id))} was`
      )
      return String(answer)
    }
  })
}

const scanPrefix = (world: World, life: Life): Operation<unknown> => {
  const prefix = world.chance.pick(["", ...prefixes])
  return operation({
    text: `scanPrefix "${prefix}"`,
    effect: () => collect(life.service.scanPrefix(prefix)),
    judge: (call, items) => {
      Checks.checkItems(world, call, items, prefix, undefined)
      return items.map((item) => `${item.id} ${itemText(item)}`).join(",")
    }
  })
}

const byState = (world: World, life: Life): Operation<unknown> => {
  const state = world.chance.pick(["new", "done"])
  return operation({
    text: `getByState ${state}`,
    effect: () => collect(life.service.getByState(state)),
    judge: (call, items) => {
      Checks.checkItems(world, call, items, "", state)
      return items.map((item) => item.id).join(",")
    }
  })
}

const collect = (stream: Stream.Stream<SyncItem, unknown>) =>
  Effect.map(Stream.runCollect(stream), (chunk) => Chunk.toReadonlyArray(chunk))

/** Page by page until a page is empty. */
const pages = (
  page: (after: string | undefined) => Effect.Effect<ReadonlyArray<SyncItem>, unknown>
): Effect.Effect<ReadonlyArray<SyncItem>, unknown> =>
  Effect.gen(function* () {
    const items: Array<SyncItem> = []
    for (;;) {
      const next = yield* page(items[items.length - 1]?.id)
      if (next.length === 0) return items
      items.push(...next)
    }
  })

const scanPages = (world: World, life: Life): Operation<unknown> => {
  const prefix = world.chance.pick(["", ...prefixes])
  const limit = world.chance.between(1, 3)
  return operation({
    text: `scanPage "${prefix}" by ${limit}`,
    effect: () => pages((after) => life.service.scanPage(prefix, { after, limit })),
    judge: (call, items) => {
      Checks.checkItems(world, call, items, prefix, undefined)
      return items.map((item) => item.id).join(",")
    }
  })
}

const statePages = (world: World, life: Life): Operation<unknown> => {
  const state = world.chance.pick(["new", "done"])
  const limit = world.chance.between(1, 3)
  return operation({
    text: `statePage ${state} by ${limit}`,
    effect: () => pages((after) => life.service.statePage(state, { after, limit })),
    judge: (call, items) => {
      Checks.checkItems(world, call, items, "", state)
      return items.map((item) => item.id).join(",")
    }
  })
}

const countPrefix = (world: World, life: Life): Operation<unknown> => {
  const prefix = world.chance.pick(["", ...prefixes])
  return operation({
    text: `countPrefix "${prefix}"`,
    effect: () => life.service.countPrefix(prefix),
    judge: (call, count) => {
      Checks.checkCarried(world, call)
      Checks.checkCount(world, call, count, prefix, undefined)
      return String(count)
    }
  })
}

const countByState = (world: World, life: Life): Operation<unknown> => {
  const state = world.chance.pick(["new", "done"])
  return operation({
    text: `countByState ${state}`,
    effect: () => life.service.countByState(state),
    judge: (call, count) => {
      Checks.checkCount(world, call, count, "", state)
      return String(count)
    }
  })
}

const stateIds = (world: World, life: Life): Operation<unknown> => {
  const state = world.chance.pick(["new", "done"])
  return operation({
    text: `listStateIds ${state}`,
    effect: () => life.service.listStateIds(state),
    judge: (call, ids) => {
      Checks.checkIds(world, call, ids, "", state)
      return ids.join(",")
    }
  })
}

const merkleRoot = (world: World, life: Life): Operation<unknown> =>
  operation({
    text: "merkleRoot",
    effect: () => life.service.merkleRoot,
    judge: (call, root) => {
      Checks.checkCarried(world, call)
      Checks.checkRoot(world, call, root)
      return root.slice(0, 8)
    }
  })

const verify = (world: World, life: Life): Operation<unknown> =>
  operation({
    text: "verify",
    effect: () => life.service.verify(),
    judge: (call, result) => {
      // An item that comes and goes leaves the root as it was, while its row was seen: only quiet rows can be judged.
      world.violations.require(
        result.inSync || Checks.wasArchivedInto(world, call),
        () => `#${call.number} says that root and rows differ: ${JSON.stringify(result)}`
      )
      Checks.checkCarried(world, call)
      Checks.checkRoot(world, call, result.archiveRoot)
      return result.archiveRoot.slice(0, 8)
    }
  })

const flush = (world: World, life: Life): Operation<unknown> =>
  operation({
    text: "flush",
    effect: () => life.service.flush,
    judge: (call, result) => {
      Checks.checkCarried(world, call)
      return `${result.flushed} flushed, ${result.deadLettered} put aside`
    }
  })

const tick = (_: World, life: Life): Operation<unknown> =>
  operation({ text: "tick", effect: () => life.service.tick, judge: () => "done" })

const letters = (world: World, life: Life): Operation<unknown> => {
  const what = world.chance.pick(["list", "retry", "drop"] as const)
  const sequences = world.chance.bool(0.5)
    ? undefined
    : [...world.disk.deadLetters.keys()].slice(0, world.chance.between(1, 2))
  const { list, retry, drop } = life.service.deadLetters
  return operation({
    text: `dead letters ${what}${sequences === undefined ? "" : ` ${sequences.join(",")}`}`,
    effect: () => {
      if (what === "retry" && world.chance.bool(0.7)) world.heal()
      return what === "list"
        ? Effect.map(list({ limit: 1000 }), (found) => found.length)
        : what === "retry"
          ? retry(sequences)
          : drop(sequences)
    },
    judge: (_, count) => String(count)
  })
}

/** Asks everything about every id: for the end, when archive, model and engine must agree. */
export function* everything(world: World, life: Life): Generator<Operation<unknown>> {
  for (const id of world.settings.ids) {
    yield single(world, `get ${id}`, id, life.service.get(id))
    yield single(world, `getVerified ${id}`, id, life.service.getVerified(id))
  }
  for (const question of [scanPrefix, scanPages, byState, countPrefix, stateIds, merkleRoot, verify, flush]) {
    yield question(world, life)
  }
}
