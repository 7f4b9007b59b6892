/** The log as the engine gets it: the in-memory one, with the model watching what goes in and out. */

import { Effect, Either } from "effect"
import { compareVersions, type ItemRecord } from "../../src/SyncItem.js"
import * as MemoryLog from "../../src/wal/MemoryLog.js"
import type { OpenLog } from "../../src/wal/WriteAheadLog.js"
import { WriteAheadLog } from "../../src/wal/WriteAheadLog.js"
import { between } from "../support/components.js"
import { type Call, indexOf } from "./Call.js"
import { type Floor, headText } from "./Model.js"
import { refusalKey } from "./WayToArchive.js"
import type { World } from "./World.js"

export const observedLog = (world: World) =>
  MemoryLog.layerMemory({
    disk: world.disk,
    maxItems: world.settings.config.walMaxItems,
    maxBytes: world.settings.config.walMaxBytes,
    commitDelay: world.commitDelay
  }).pipe(between(WriteAheadLog, (log) => observed(world, log)))

const observed = (world: World, log: OpenLog): OpenLog => {
  const { model, violations } = world
  return {
    ...log,
    get maxVersion() {
      return log.maxVersion
    },
    unsafeAppend: (records, done, moved) => {
      for (const record of records) {
        // A letter that is put back is nobody's write, whoever deletes what it deletes meanwhile.
        const writers = moved ? [] : world.writersOf(record)
        checkIntent(world, record, writers)
        const version = model.appending(
          record,
          writers.some(({ intent }) => intent?.durability === "memory"),
          moved
        )
        for (const writer of writers) {
          writer.appended.push(version)
          writer.indexes.add(indexOf(record.traceparent))
        }
      }
      log.unsafeAppend(
        records,
        (result) => {
          if (Either.isRight(result)) model.committed(result.right.first, records, moved)
          else model.refused(records, moved)
          done(result)
        },
        moved
      )
    },
    release: (upTo) => {
      const before = world.disk.released
      return Effect.tap(log.release(upTo), () =>
        Effect.sync(() => {
          if (world.disk.released !== before) model.released(world.disk.released)
        })
      )
    },
    deadLetters: {
      ...log.deadLetters,
      add: (letters) =>
        Effect.tap(log.deadLetters.add(letters), () =>
          Effect.sync(() => {
            for (const { record, sequence } of letters) {
              world.note(`dead letter #${sequence} ${record.id} ${headText(record)}`)
              violations.require(
                world.refused.has(refusalKey(record)),
                () => `${record.id} ${headText(record)} was put aside, but the archive never refused it`
              )
            }
            model.deadLettered(letters.map(({ sequence }) => sequence))
          })
        )
    }
  }
}

/** Whoever writes a record must have been asked to, and its version must be right at this very moment. */
export const checkIntent = (world: World, record: ItemRecord, writers: ReadonlyArray<Call>): void => {
  if (writers.length === 0) {
    world.violations.require(
      [...world.disk.deadLetters.values()].some(
        (letter) => letter.record.id === record.id && compareVersions(letter.record, record) === 0
      ),
      () => `nobody asked to write ${record.id} ${headText(record)}`
    )
    return
  }
  const problems = writers.map((call) => problemOf(world, record, call))
  if (problems.every((problem) => problem !== undefined)) world.violations.report(problems[0]!)
}

const versionOfLive = (floor: Floor): number => (floor === undefined || floor.deleted ? 0 : floor.version)

const problemOf = ({ model }: World, record: ItemRecord, call: Call): string | undefined => {
  const { intent, number } = call
  const what = `${record.id} ${headText(record)}`
  const own = intent?.own?.(indexOf(record.traceparent))
  const current = model.current(record.id)
  if (own !== undefined && record.version !== own) return `#${number} asked for version ${own}, got ${what}`
  if (own === undefined && current !== undefined && record.version <= current.version) {
    return `#${number} got ${what}, which is not above the newest, ${headText(current)}`
  }
  const replaced = model.currentWithInFlight(record.id)
  // What is put aside is shown until the flush that found it has settled.
  const shown = [replaced, ...model.putAsideOf(record.id)]
  const { expected } = intent ?? {}
  if (expected !== undefined && !shown.some((one) => versionOfLive(one) === expected)) {
    return `#${number} compared with ${expected}, but ${what} replaces ${headText(replaced)}`
  }
  if (intent?.setsState !== undefined && !shown.some((one) => one?.contentHash === record.contentHash)) {
    return `#${number} sets the state of ${headText(replaced)}, but writes ${what}`
  }
  return undefined
}
