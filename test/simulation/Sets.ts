/** Operations that read sets of items, and the tree. */

import { Chunk, Effect, Stream } from "effect"
import type { SyncItem } from "../../src/SyncItem.js"
import * as Checks from "./Checks.js"
import type { Life } from "./Life.js"
import { itemText, type Operation, operation, prefixes } from "./Operation.js"
import type { World } from "./World.js"

export const scanPrefix = (world: World, life: Life): Operation<unknown> => {
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

export const byState = (world: World, life: Life): Operation<unknown> => {
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

export const scanPages = (world: World, life: Life): Operation<unknown> => {
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

export const statePages = (world: World, life: Life): Operation<unknown> => {
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

export const countPrefix = (world: World, life: Life): Operation<unknown> => {
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

export const countByState = (world: World, life: Life): Operation<unknown> => {
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

export const stateIds = (world: World, life: Life): Operation<unknown> => {
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

export const merkleRoot = (world: World, life: Life): Operation<unknown> =>
  operation({
    text: "merkleRoot",
    effect: () => life.service.merkleRoot,
    judge: (call, root) => {
      Checks.checkCarried(world, call)
      Checks.checkRoot(world, call, root)
      return root.slice(0, 8)
    }
  })

export const verify = (world: World, life: Life): Operation<unknown> =>
  operation({
    text: "verify",
    effect: () => life.service.verify(),
    judge: (call, result) => {
      // An item that comes and goes leaves the root as it was, while its row was seen: only quiet rows can be judged.
      world.violations.require(
        result.differences.every(({ tier }) => tier === "cache" && world.settings.hasCache) ||
          Checks.wasArchivedInto(world, call),
        () => `#${call.number} says that root and rows differ: ${JSON.stringify(result)}`
      )
      world.violations.require(
        result.unchecked.every(({ what }) => what === "roots" && world.settings.hasCache) ||
          Checks.wasArchivedInto(world, call),
        () => `#${call.number} could not look at everything: ${JSON.stringify(result)}`
      )
      world.violations.require(
        result.inSync || call.start.ms < world.provenAt || Checks.wasArchivedInto(world, call),
        () => `#${call.number} finds something after all was proven: ${JSON.stringify(result)}`
      )
      Checks.checkCarried(world, call)
      Checks.checkRoot(world, call, result.archiveRoot)
      return result.archiveRoot.slice(0, 8)
    }
  })
