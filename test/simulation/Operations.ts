/** What clients do. */

import { Effect } from "effect"
import * as Checks from "./Checks.js"
import type { Life } from "./Life.js"
import { type Operation, operation } from "./Operation.js"
import { contains, get, getMany, getVerified, isCurrent, single, status } from "./Reading.js"
import {
  byState,
  countByState,
  countPrefix,
  merkleRoot,
  scanPages,
  scanPrefix,
  stateIds,
  statePages,
  verify
} from "./Sets.js"
import type { World } from "./World.js"
import {
  deleteByState,
  deletePrefix,
  getOrInsert,
  remove,
  removeMany,
  setState,
  submit,
  submitMany
} from "./Writing.js"

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
