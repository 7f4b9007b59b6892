/** What the judge of the simulations lets pass, and what it does not. */
import { describe, expect, it } from "vitest"
import { TierUnavailable } from "../../src/EngineError.js"
import type { ItemRecord } from "../../src/SyncItem.js"
import type { Intent } from "./Call.js"
import { Chance } from "./Chance.js"
import { checkError } from "./Errors.js"
import type { Life } from "./Life.js"
import { checkIntent } from "./ObservedLog.js"
import { checkReceipt } from "./Receipts.js"
import { settingsOf } from "./Settings.js"
import { Turns } from "./Turns.js"
import { World } from "./World.js"

const record: ItemRecord = {
  id: "a",
  version: 5,
  contentHash: "00",
  content: new Uint8Array(),
  updatedAt: 5,
  deleted: false,
  state: undefined,
  contentType: "binary",
  traceparent: undefined
}

const flushTimeout = 15_000
const shutdownTimeout = 1000

const setUp = () => {
  const chance = new Chance(1)
  const settings = settingsOf(chance)
  const turns = new Turns(chance, true, 0)
  const world = new World(chance, turns, {
    ...settings,
    hasArchive: true,
    config: { ...settings.config, flushTimeout, shutdownTimeout }
  })
  const life = {
    config: () => world.settings.config,
    lifecycle: { unsafeSnapshot: () => ({ phase: "ready" }) }
  } as unknown as Life
  const version = world.model.appending(record, false)
  world.model.committed(1, [record])
  const intent = { durability: "archive", covers: () => true, signed: false, deletes: false } as const
  const call = world.begin(() => "submit a archive", intent, "ready", false, false)
  call.appended.push(version)
  return { call, life, turns, world }
}

describe("the judge", () => {
  it("what is among the dead letters needs no archive, although the log still holds it", () => {
    const { model } = setUp().world
    expect(model.isCarried).toBe(false)
    model.deadLettered([1])
    expect(model.isCarried).toBe(true)
  })

  it("nobody compares with a letter on its way back into the log, as one does with a write on its way", () => {
    const verdictOn = (intent: Partial<Intent>, written: ItemRecord, moved: boolean) => {
      const { world } = setUp()
      world.model.appending({ ...record, version: 7, contentHash: "07" }, false, moved)
      const asked = {
        durability: "wal",
        covers: () => true,
        signed: false,
        deletes: false,
        ...intent
      } as const
      checkIntent(world, written, [world.begin(() => "writes a", asked, "ready", false, false)])
      return world.violations.first
    }
    const setsState: Partial<Intent> = { setsState: { state: undefined } }
    const ofShown = { ...record, version: 8 }
    const ofLetter = { ...ofShown, contentHash: "07" }
    expect(verdictOn(setsState, ofShown, true)).toBeUndefined()
    expect(verdictOn(setsState, ofLetter, true)).toContain("sets the state of 5/00")
    expect(verdictOn(setsState, ofShown, false)).toContain("sets the state of 7/07")
    expect(verdictOn(setsState, ofLetter, false)).toBeUndefined()
    expect(verdictOn({ expected: 5 }, ofShown, true)).toBeUndefined()
    expect(verdictOn({ expected: 7 }, ofShown, true)).toContain("compared with 7")
  })

  it("what a letter is on its way back for is gone only when that has failed, or the process has died", () => {
    const { model } = setUp().world
    const letter = { ...record, id: "b" }
    const version = model.appending(letter, false, true)
    model.refused([letter], true)
    expect(version.goneAt).toBe(model.tick)
    model.appending(letter, false, true)
    expect(version.goneAt).toBeUndefined()
    model.restarted([{ sequence: 1, record }], 0)
    expect(version.goneAt).toBe(model.tick)
  })

  it("a writer that waits for the archive is told of the log when the shutdown's time for it is over, not before", () => {
    const receipt = {
      id: "a",
      version: 5,
      contentHash: "00",
      durability: "wal",
      previousVersion: undefined,
      compared: false
    } as const
    const verdictAfter = (ms: number | undefined) => {
      const { call, turns, world } = setUp()
      turns.now = 60_000
      if (ms !== undefined) {
        world.hand("shutdown")
        turns.now += ms
      }
      checkReceipt(world, call, receipt)
      return world.violations.first
    }
    expect(verdictAfter(0.7 * shutdownTimeout)).toBeUndefined()
    expect(verdictAfter(0.5 * shutdownTimeout)).toContain("at wal, but asked for archive")
    expect(verdictAfter(undefined)).toContain("at wal, but asked for archive")
  })

  it("FLUSH_TIMEOUT may be over when the archive took the time, not when nothing was sent to it", () => {
    const error = new TierUnavailable({
      tier: "archive",
      operation: "count",
      problem: "",
      retryAfterMs: 1000
    })
    const verdictAfter = (ms: number, commitsMs: number) => {
      const { call, life, turns, world } = setUp()
      world.hand("commit slow", commitsMs)
      turns.now += ms
      checkError(world, life, call, error)
      return world.violations.first
    }
    expect(verdictAfter(flushTimeout, 13_000)).toBeUndefined()
    expect(verdictAfter(flushTimeout, 1000)).toContain("the archive had no trouble")
    expect(verdictAfter(1000, 13_000)).toContain("the archive had no trouble")
  })
})
