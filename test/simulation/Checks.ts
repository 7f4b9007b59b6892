/** What an answer must be, given the model at its call's beginning and end. */
import type { Digest } from "../../src/merkle/Tree.js"
import { compareVersions, type ItemRecord, type SyncItem } from "../../src/SyncItem.js"
import type { Call } from "./Call.js"
import { type Floor, headText, type Version } from "./Model.js"
import type { World } from "./World.js"

const liveHead = (floor: Floor): boolean => floor !== undefined && !floor.deleted

/** Every record the id may have shown from the call's beginning until now; `undefined` stands for none at all. */
export const candidates = (world: World, call: Call, id: string): ReadonlyArray<ItemRecord | undefined> => {
  const floor = call.floor(id)
  const found: Array<ItemRecord | undefined> = []
  if (floor === undefined) found.push(undefined)
  for (const version of world.model.versionsOf(id)) {
    if (floor !== undefined && compareVersions(version, floor) < 0) continue
    if (wasVisible(version, call)) found.push(...version.records)
  }
  return found
}

/** Durable (or acknowledged at `memory`) at some time since the call began. */
const wasVisible = (version: Version, call: Call): boolean =>
  (version.committed || version.shownEarly) &&
  (version.goneAt === undefined || version.goneAt >= call.start.tick)

export const checkItem = (world: World, call: Call, id: string, item: SyncItem): void => {
  const { model, violations } = world
  const head = { id: item.id, version: item.version, contentHash: item.contentHash, deleted: false }
  const answer = `#${call.number} (${call.text}) answered ${id} ${headText(head)}`
  violations.require(item.id === id, () => `${answer}, but under the id ${item.id}`)
  const version = model.find(head)
  if (version === undefined) {
    violations.report(`${answer}, which was never written`)
    return
  }
  violations.require(
    version.records.some((record) => sameItem(record, item)),
    () => `${answer} with other bytes or properties than were written`
  )
  violations.require(wasVisible(version, call), () => `${answer}, which is not durable`)
  const floor = call.floor(id)
  violations.require(
    floor === undefined ||
      compareVersions(head, floor) >= 0 ||
      // Without the archive, the newest version in the log is the answer; nobody could compare it.
      // It may have left the log since: other ids of the same call were asked for once more.
      (mayLackArchive(world, call) &&
        (version.logged.size > 0 || version.inFlight > 0 || version.leftLogAt >= call.start.tick)),
    () => `${answer}, which is older than ${headText(floor)}, acknowledged before the call`
  )
}

/** Whether the newest version in the log may be the answer, because the archive could not be asked. */
export const mayBeLogged = (world: World, call: Call, id: string): boolean =>
  mayLackArchive(world, call) &&
  [...world.model.versionsOf(id)].some(
    ({ deleted, inFlight, logged }) => !deleted && (logged.size > 0 || inFlight > 0)
  )

/** A call of the archive has failed meanwhile. */
export const archiveTrouble = (world: World, call: Call): boolean =>
  world.faults.since(call.start.mark, world.name, "archive", "held")

/** The log has failed something meanwhile. */
export const logTrouble = (world: World, call: Call): boolean =>
  call.start.logRefuses || world.faults.since(call.start.mark, world.name, "log")

const mayLackArchive = (world: World, call: Call): boolean =>
  !world.settings.hasArchive || archiveTrouble(world, call)

const sameItem = (record: ItemRecord, item: SyncItem): boolean =>
  record.updatedAt === item.updatedAt &&
  record.state === item.state &&
  record.contentType === item.contentType &&
  record.traceparent === item.traceparent &&
  Buffer.compare(record.content, item.content) === 0

/** Absence must have been true at some time of the call. */
export const checkAbsent = (world: World, call: Call, id: string): void => {
  const floor = call.floor(id)
  if (!liveHead(floor)) return
  world.violations.require(
    candidates(world, call, id).some((record) => record?.deleted === true),
    () =>
      `#${call.number} (${call.text}) answered that ${id} is absent; ${headText(floor)} was there before the call`
  )
}

/** Whether something holds for every record (or only for some) that the id may have shown. */
export const always = (
  world: World,
  call: Call,
  id: string,
  holds: (record: ItemRecord | undefined) => boolean
) => candidates(world, call, id).every(holds)
export const sometimes = (
  world: World,
  call: Call,
  id: string,
  holds: (record: ItemRecord | undefined) => boolean
) => candidates(world, call, id).some(holds)

export const inRange =
  (id: string, prefix: string, state: string | undefined) =>
  (record: ItemRecord | undefined): boolean =>
    record !== undefined &&
    !record.deleted &&
    (prefix === "" || id === prefix || id.startsWith(`${prefix}.`)) &&
    (state === undefined || record.state === state)

/** A complete list of the items of a range, in order. */
export const checkItems = (
  world: World,
  call: Call,
  items: ReadonlyArray<SyncItem>,
  prefix: string,
  state: string | undefined
): void => {
  for (const item of items) {
    checkItem(world, call, item.id, item)
    world.violations.require(
      inRange(item.id, prefix, state)({ ...item, deleted: false }),
      () => `#${call.number} (${call.text}) answered ${item.id}, which is outside`
    )
  }
  checkIds(
    world,
    call,
    items.map(({ id }) => id),
    prefix,
    state
  )
}

/** A complete list of ids. */
export const checkIds = (
  world: World,
  call: Call,
  ids: ReadonlyArray<string>,
  prefix: string,
  state: string | undefined
): void => {
  const { settings, violations } = world
  const name = `#${call.number} (${call.text})`
  for (let index = 1; index < ids.length; index++) {
    violations.require(
      Buffer.compare(Buffer.from(ids[index - 1]!), Buffer.from(ids[index]!)) < 0,
      () => `${name} answered out of order: ${ids.join(", ")}`
    )
  }
  const answered = new Set(ids)
  for (const id of settings.ids) {
    const holds = inRange(id, prefix, state)
    if (answered.has(id)) {
      violations.require(
        sometimes(world, call, id, holds),
        () => `${name} answered ${id}, which never was in range`
      )
    } else {
      violations.require(
        !always(world, call, id, holds),
        () => `${name} left out ${id} ${headText(call.floor(id))}`
      )
    }
  }
}

export const checkCount = (
  world: World,
  call: Call,
  count: number,
  prefix: string,
  state: string | undefined
): void => {
  const { ids } = world.settings
  const least = ids.filter((id) => always(world, call, id, inRange(id, prefix, state))).length
  const most = ids.filter((id) => sometimes(world, call, id, inRange(id, prefix, state))).length
  world.violations.require(
    count >= least && count <= most,
    () => `#${call.number} (${call.text}) counted ${count}; it must be ${least} to ${most}`
  )
}

/** What was acknowledged before the call has been carried to the archive. */
export const checkCarried = (world: World, call: Call): void => {
  const { archive, model, violations } = world
  const isThere = (version: Version) => {
    const stored = archive.records.get(version.id)
    return stored !== undefined && compareVersions(stored, version) >= 0
  }
  for (const [sequence, version] of model.log) {
    if (sequence > call.start.committed) continue
    violations.require(
      model.isDead(sequence) || isThere(version),
      () => `#${call.number} (${call.text}) did not carry ${version.id} ${headText(version)}`
    )
  }
  for (const version of call.start.early) {
    violations.require(
      version.goneAt !== undefined ||
        isThere(version) ||
        [...version.logged].some((sequence) => model.isDead(sequence)),
      () =>
        `#${call.number} (${call.text}) did not carry ${version.id} ${headText(version)}, acknowledged at memory`
    )
  }
}

export const checkRoot = (world: World, call: Call, root: Digest): void => {
  world.sawRoot()
  const { roots, violations } = world
  violations.require(
    roots.some(
      (known, index) => known.root === root && (roots[index + 1]?.tick ?? Infinity) >= call.start.tick
    ),
    () => `#${call.number} (${call.text}) answered a root that was not the archive's during the call`
  )
}

/** Whether the archive's rows changed during the call. */
export const wasArchivedInto = (world: World, call: Call): boolean => {
  world.sawRoot()
  return world.roots[world.roots.length - 1]!.tick >= call.start.tick
}
