/** Operations that write. */

import { Effect, Option } from "effect"
import type { SubmitItem } from "../../src/SyncEngineApi.js"
import { compareVersions } from "../../src/SyncItem.js"
import { maxOwnVersion } from "../../src/shared/OwnVersions.js"
import { traceparentOf } from "./Call.js"
import * as Checks from "./Checks.js"
import type { Life } from "./Life.js"
import { headText } from "./Model.js"
import {
  durabilityOf,
  expectedVersion,
  idsOf,
  itemText,
  type Operation,
  operation,
  prefixes,
  states
} from "./Operation.js"
import { checkReceipt, checkResults } from "./Receipts.js"
import type { World } from "./World.js"

/** An own version where own versions hurt: around the newest one, near the clock's, tiny, or near the end. */
const ownVersion = (world: World, id: string): number | undefined => {
  const { chance, model, settings, turns } = world
  if (!settings.ownVersions || chance.bool(0.6)) return undefined
  const current = model.currentWithInFlight(id)?.version ?? 0
  return Math.min(
    maxOwnVersion,
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

const poisonSometimes = (world: World, call: number): void => {
  if (world.settings.poison && !world.calm && world.chance.bool(0.06)) world.poisonCalls.add(call)
}

export const submit = (world: World, life: Life): Operation<unknown> => {
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
      checkReceipt(world, call, receipt)
      return `${receipt.durability} ${receipt.version}`
    }
  })
}

export const submitMany = (world: World, life: Life): Operation<unknown> => {
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
      checkResults(world, life, call, results, ids)
      return results
        .map((result) => (result._tag === "Rejected" ? result.error._tag : `${result.receipt.version}`))
        .join(",")
    }
  })
}

export const remove = (world: World, life: Life): Operation<unknown> => {
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
      checkReceipt(world, call, receipt)
      return `${receipt.durability} ${receipt.version}`
    }
  })
}

export const removeMany = (world: World, life: Life): Operation<unknown> => {
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
      checkResults(world, life, call, results, ids)
      return results.map((result) => result._tag).join(",")
    }
  })
}

export const setState = (world: World, life: Life): Operation<unknown> => {
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
      checkReceipt(world, call, receipt.value)
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

export const deletePrefix = (world: World, life: Life): Operation<unknown> => {
  const prefix = world.chance.pick(prefixes)
  return bulkDelete(
    world,
    `deletePrefix ${prefix}`,
    (id) => id === prefix || id.startsWith(`${prefix}.`),
    (id) => Checks.inRange(id, prefix, undefined),
    life.service.deletePrefix(prefix)
  )
}

export const deleteByState = (world: World, life: Life): Operation<unknown> => {
  const state = world.chance.pick(["new", "done"])
  return bulkDelete(
    world,
    `deleteByState ${state}`,
    () => true,
    (id) => Checks.inRange(id, "", state),
    life.service.deleteByState(state)
  )
}

export const getOrInsert = (world: World, life: Life): Operation<unknown> => {
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
