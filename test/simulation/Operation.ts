/** What an operation is: how it is called, what it means to write, and how its answer is judged. */
import type { Effect } from "effect"
import type { Durability } from "../../src/SyncEngineApi.js"
import type { SyncItem } from "../../src/SyncItem.js"
import type { Call, Intent } from "./Call.js"
import { headText } from "./Model.js"
import type { World } from "./World.js"

export interface Operation<A> {
  readonly text: string
  readonly intent?: Intent | undefined
  readonly effect: (call: Call) => Effect.Effect<A, unknown>
  /** Judges the answer and says it in a few words. */
  readonly judge: (call: Call, answer: A) => string
}

export const operation = <A>(made: Operation<A>): Operation<unknown> => made as Operation<unknown>

export const states = ["new", "done", undefined] as const
export const prefixes = ["a", "b", "b.c", "a.b"] as const

export const itemText = (item: SyncItem | undefined) =>
  item === undefined ? "absent" : headText({ ...item, deleted: false })

export const expectedVersion = (world: World, id: string): number => {
  const current = world.model.currentWithInFlight(id)
  const actual = current === undefined || current.deleted ? 0 : current.version
  return world.chance.bool(0.75) ? actual : Math.max(0, actual + world.chance.pick([-1, 1]))
}

export const idsOf = (world: World, most: number): ReadonlyArray<string> =>
  Array.from({ length: world.chance.between(1, most) }, () => world.chance.pick(world.settings.ids))

export const durabilityOf = ({ chance, settings }: World): Durability =>
  chance.weighted<Durability>([
    [settings.memoryDurability ? 3 : 0, "memory"],
    [6, "wal"],
    [2, "archive"]
  ])
