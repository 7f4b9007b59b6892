import { chmodSync, existsSync, statSync } from "node:fs"
import { describe, expect, it } from "@effect/vitest"
import type Database from "better-sqlite3"
import { Effect } from "effect"
import { LogFile } from "../../src/wal/LogFile.js"
import { encodedBytes, encodeOne } from "../../src/wal/SegmentWriter.js"
import { contentOf, recordOf, recordsOf, segmentsOf, temporaryLog } from "./support.js"

/** What a broken disk does behind the log's back. */
const damage = (file: LogFile, sql: string): void => {
  ;(file as unknown as { readonly db: Database.Database }).db.exec(sql)
}

const opened = Effect.acquireRelease(
  Effect.map(temporaryLog, (path) => ({ path, file: LogFile.open(path) })),
  ({ file }) => Effect.sync(() => file.close())
)

const letterOf = (sequence: number) => ({
  sequence,
  reason: "no",
  at: 7,
  data: encodeOne(recordOf(sequence, 1000))
})

describe("reads of the log", () => {
  it.scoped("check every entry they return", () =>
    Effect.gen(function* () {
      const { file } = yield* opened
      file.commit(segmentsOf(1, recordsOf(1, 3, 100)))
      expect(contentOf(file)).toHaveLength(3)
      damage(
        file,
        "UPDATE segment SET data = CAST(substr(data, 1, 120) || x'ff' || substr(data, 122) AS BLOB)"
      )
      expect(() => contentOf(file)).toThrow("the entry with sequence 1 is damaged")
      expect(() => file.readAt([1])).toThrow("the entry with sequence 1 is damaged")
      expect(file.readAt([2, 3])).toMatchObject([{ first: 2, items: 2 }])
    })
  )

  it.scoped("check dead letters, their reason too, and bound a listing by bytes", () =>
    Effect.gen(function* () {
      const { file } = yield* opened
      const added = file.addDeadLetters([letterOf(1), letterOf(2), letterOf(3)])
      expect(added.items).toBe(3)
      const sequences = (maxBytes: number) =>
        file.listDeadLetters(0, 10, maxBytes).map(({ sequence }) => sequence)
      expect(sequences(1)).toEqual([1])
      expect(sequences(2500)).toEqual([1, 2])
      expect(file.removeDeadLetters([2, 5])).toEqual({ items: 1, bytes: letterOf(2).data.length })
      damage(file, "UPDATE dead_letter SET reason = 'yes' WHERE sequence = 3")
      expect(() => sequences(1e9)).toThrow("the dead letter with sequence 3 is damaged")
    })
  )
})

describe("a release", () => {
  it.scoped("says what it has set free, in the middle of segments, over gaps and beyond the end", () =>
    Effect.gen(function* () {
      const { file, path } = yield* opened
      const held = [...recordsOf(1, 5, 50), ...recordsOf(10, 3, 700), ...recordsOf(13, 3)]
      for (const first of [1, 10, 13]) {
        file.commit(segmentsOf(first, held.slice(first === 1 ? 0 : first - 5).slice(0, first === 1 ? 5 : 3)))
      }
      const between = (after: number, upTo: number) => {
        const some = held.filter(({ version }) => version > after && version <= upTo)
        return { items: some.length, bytes: some.reduce((sum, record) => sum + encodedBytes(record), 0) }
      }
      let released = 0
      for (const upTo of [3, 4, 4, 2, 7, 11, 12, 14]) {
        expect(file.release(upTo)).toMatchObject(between(released, upTo))
        released = Math.max(released, upTo)
      }
      const before = file.opened
      file.close()
      const again = LogFile.open(path)
      expect([before.items, again.opened]).toMatchObject([0, between(released, 99)])
      expect(again.release(99)).toMatchObject(between(released, 99))
      again.close()
    })
  )
})

describe("the log's files", () => {
  it.scoped("are for their owner alone, those that were there before too", () =>
    Effect.gen(function* () {
      const path = yield* temporaryLog
      const rights = () =>
        ["", "-wal", "-lock"]
          .filter((suffix) => existsSync(path + suffix))
          .map((suffix) => `${suffix} ${(statSync(path + suffix).mode & 0o777).toString(8)}`)
      const first = LogFile.open(path)
      first.commit(segmentsOf(1, recordsOf(1, 1)))
      expect(rights()).toEqual([" 600", "-wal 600", "-lock 600"])
      first.close()
      for (const suffix of ["", "-lock"]) chmodSync(path + suffix, 0o644)
      const again = LogFile.open(path)
      expect(rights()).toEqual([" 600", "-wal 600", "-lock 600"])
      again.close()
    })
  )
})
