/** Operations that read single items. */

import { type Effect, Option } from "effect"
import type { SyncItem } from "../../src/SyncItem.js"
import * as Checks from "./Checks.js"
import type { Life } from "./Life.js"
import { headText } from "./Model.js"
import { expectedVersion, idsOf, itemText, type Operation, operation } from "./Operation.js"
import type { World } from "./World.js"

export const get = (world: World, life: Life): Operation<unknown> => {
  const id = world.chance.pick(world.settings.ids)
  return single(world, `get ${id}`, id, life.service.get(id))
}

export const getVerified = (world: World, life: Life): Operation<unknown> => {
  const id = world.chance.pick(world.settings.ids)
  return single(world, `getVerified ${id}`, id, life.service.getVerified(id))
}

export const single = (
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

export const getMany = (world: World, life: Life): Operation<unknown> => {
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

export const contains = (world: World, life: Life): Operation<unknown> => {
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

export const status = (world: World, life: Life): Operation<unknown> => {
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

export const isCurrent = (world: World, life: Life): Operation<unknown> => {
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
