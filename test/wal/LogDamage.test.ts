import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it, vi } from "@effect/vitest"
import Database from "better-sqlite3"
import { Effect } from "effect"
import { LogFile } from "../../src/wal/LogFile.js"
import type { OpenProblem } from "../../src/wal/LogProtocol.js"
import { openProblemOf } from "../../src/wal/LogProtocol.js"
import { encodeOne } from "../../src/wal/SegmentWriter.js"
import * as SqliteLog from "../../src/wal/SqliteLog.js"
import { inspectWalFile } from "../../src/wal/SqliteWalFile.js"
import { contentOf, copyAfterCrash, recordKey, recordOf, recordsOf, seeded, segmentsOf } from "./support.js"

vi.setConfig({ testTimeout: 30_000 })

let directory = ""
let files = 0
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "sync-engine-damage-"))
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))
const fresh = () => join(directory, `${++files}.sqlite`)

const keysOf = (count: number, size: number) =>
  recordsOf(1, count, size).map((record, index) => [index + 1, recordKey(record)] as const)

/** Opens a file and says what it holds, or why it was refused. */
const outcomeOf = (
  path: string
): OpenProblem | { readonly kind: "opened"; readonly keys: ReturnType<typeof contentOf> } => {
  let file: LogFile
  try {
    file = LogFile.open(path)
  } catch (error) {
    return openProblemOf(error)
  }
  try {
    return { kind: "opened", keys: contentOf(file) }
  } finally {
    file.close()
  }
}

const flip = (path: string, at: number, mask = 0x10) => {
  const bytes = readFileSync(path)
  bytes[at]! ^= mask
  writeFileSync(path, bytes)
}

const groups = 4
const groupSize = 20
const contentSize = 900
const frameBytes = 24 + 8192

/** A log that crashed: everything is in its -wal file. `ends[i]` is the size of that file after group `i`. */
const crashed = () => {
  const path = fresh()
  const file = LogFile.open(path)
  const ends: Array<number> = []
  for (let group = 0; group < groups; group++) {
    const first = 1 + group * groupSize
    file.commit(segmentsOf(first, recordsOf(first, groupSize, contentSize)))
    ends.push(statSync(`${path}-wal`).size)
  }
  const copy = fresh()
  copyAfterCrash(path, copy)
  file.close()
  return { path: copy, ends }
}

const copyOf = (path: string) => {
  const copy = fresh()
  copyAfterCrash(path, copy)
  return copy
}

describe("a -wal file left by a crash", () => {
  it("is read to its end", () => {
    const { ends, path } = crashed()
    expect(inspectWalFile(`${path}-wal`)).toEqual({ kind: "sound", commits: groups })
    expect((ends.at(-1)! - 32) % frameBytes).toBe(0)
    expect(outcomeOf(path)).toEqual({ kind: "opened", keys: keysOf(groups * groupSize, contentSize) })
    expect(existsSync(`${path}-wal`)).toBe(false)
  })

  it("may end anywhere: whole groups stay, the rest was never acknowledged", () => {
    const { ends, path } = crashed()
    const lengths = new Set<number>([0, 1, 31, 32, 33])
    for (let frame = 32; frame <= ends.at(-1)!; frame += frameBytes) {
      for (const offset of [-1, 0, 1, 24, 4000])
        lengths.add(Math.max(0, Math.min(ends.at(-1)!, frame + offset)))
    }
    for (const length of lengths) {
      const copy = copyOf(path)
      truncateSync(`${copy}-wal`, length)
      const whole = ends.filter((end) => end <= length).length
      expect(outcomeOf(copy)).toEqual({ kind: "opened", keys: keysOf(whole * groupSize, contentSize) })
    }
  })

  it("may have lost any piece of the last transaction, the one that was not synced", () => {
    const { ends, path } = crashed()
    const before = keysOf((groups - 1) * groupSize, contentSize)
    const start = ends.at(-2)!
    for (let at = start; at < ends.at(-1)!; at += 512) {
      const copy = copyOf(path)
      const bytes = readFileSync(`${copy}-wal`)
      bytes.fill(0, at, Math.min(at + 512, bytes.length))
      writeFileSync(`${copy}-wal`, bytes)
      const outcome = outcomeOf(copy)
      // Zeros may stand where zeros were.
      const all = keysOf(groups * groupSize, contentSize)
      const unchanged = bytes.equals(readFileSync(`${path}-wal`))
      expect(outcome).toEqual({ kind: "opened", keys: unchanged ? all : before })
    }
  })

  it("may have garbage behind its end", () => {
    const { path } = crashed()
    const random = seeded(5)
    for (const length of [1, 23, 24, 8192, frameBytes, frameBytes * 5 + 100]) {
      const copy = copyOf(path)
      writeFileSync(`${copy}-wal`, Buffer.concat([readFileSync(`${copy}-wal`), random.bytes(length)]))
      expect(outcomeOf(copy)).toEqual({ kind: "opened", keys: keysOf(groups * groupSize, contentSize) })
    }
  })

  it("is damaged when a byte before the last transaction changed, wherever that is", () => {
    const { ends, path } = crashed()
    const random = seeded(6)
    const places = [0, 4, 8, 12, 16, 20, 24, 31]
    for (let frame = 32; frame < ends.at(-2)!; frame += frameBytes) {
      // Page number, size after the commit, salts, checksums, then the page itself.
      for (const offset of [1, 6, 9, 13, 17, 21, 24 + random.below(8192)]) places.push(frame + offset)
    }
    for (const at of places) {
      const copy = copyOf(path)
      flip(`${copy}-wal`, at)
      const outcome = outcomeOf(copy)
      expect({ at, kind: outcome.kind }).toEqual({ at, kind: "damaged" })
      // The evidence stays as it was.
      expect(existsSync(`${copy}-wal`)).toBe(true)
    }
  })

  it("is damaged when the log itself is gone", () => {
    const { path } = crashed()
    const copy = copyOf(path)
    rmSync(copy)
    expect(outcomeOf(copy)).toMatchObject({ kind: "damaged", problem: expect.stringContaining("gone") })
    expect(existsSync(`${copy}-wal`)).toBe(true)
  })

  it("is not taken for damaged because of what an earlier crash or an earlier round left in it", () => {
    const { ends, path } = crashed()
    // A torn last transaction, then more crashes, each leaving its own torn rest.
    let copy = copyOf(path)
    let count = (groups - 1) * groupSize
    for (let round = 0; round < 4; round++) {
      const wal = `${copy}-wal`
      flip(wal, statSync(wal).size - 2 * frameBytes + 100)
      const file = LogFile.open(copy)
      expect(contentOf(file).length).toBe(count)
      file.commit(segmentsOf(count + 1, recordsOf(count + 1, 3, contentSize)))
      count += 3
      file.commit(segmentsOf(count + 1, recordsOf(count + 1, groupSize, contentSize)))
      const next = fresh()
      copyAfterCrash(copy, next)
      file.close()
      copy = next
    }
    // A long torn transaction, then a short whole one and a short torn one in the place of its first frames.
    const again = copyOf(path)
    flip(`${again}-wal`, ends.at(-2)! + 100)
    const reopened = LogFile.open(again)
    reopened.commit(segmentsOf(61, recordsOf(61, 1, 10)))
    const end = statSync(`${again}-wal`).size
    reopened.commit(segmentsOf(62, recordsOf(62, 1, 10)))
    copyAfterCrash(again, `${again}-copy`)
    reopened.close()
    flip(`${again}-copy-wal`, end + 100)
    expect(outcomeOf(`${again}-copy`)).toMatchObject({ kind: "opened", keys: { length: 61 } })
    // SQLite writes over the file from its start after a checkpoint; behind the new frames stand older ones.
    const long = fresh()
    const file = LogFile.open(long)
    let sequence = 1
    while (file.counters().checkpoints === 0) {
      file.commit(segmentsOf(sequence, recordsOf(sequence, 300, contentSize)))
      sequence += 300
      file.afterReply()
    }
    file.commit(segmentsOf(sequence, recordsOf(sequence, 2, contentSize)))
    copyAfterCrash(long, `${long}-copy`)
    expect(inspectWalFile(`${long}-copy-wal`)).toEqual({ kind: "sound", commits: 1 })
    flip(`${long}-copy-wal`, 32 + 20 * frameBytes + 500)
    const held = contentOf(file).length
    file.close()
    const outcome = outcomeOf(`${long}-copy`)
    expect(outcome.kind === "opened" && outcome.keys.length === held && held === sequence + 1).toBe(true)
  })
})

/** A log that was closed: everything is in its main file. */
const closed = (count = groups * groupSize) => {
  const path = fresh()
  const file = LogFile.open(path)
  for (let first = 1; first <= count; first += groupSize) {
    file.commit(segmentsOf(first, recordsOf(first, groupSize, contentSize)))
  }
  file.addDeadLetters([
    { sequence: 3, reason: "a reason to find", at: 5, data: encodeOne(recordOf(3, contentSize)) }
  ])
  file.close()
  return path
}

describe("a main file", () => {
  it("with a changed entry names its sequence number", () => {
    const path = closed()
    const bytes = readFileSync(path)
    for (const sequence of [1, 9, 58, groups * groupSize - 3]) {
      const copy = fresh()
      copyFileSync(path, copy)
      flip(copy, bytes.indexOf(recordOf(sequence, contentSize).content.subarray(0, 40)) + 3)
      expect(outcomeOf(copy)).toEqual({
        kind: "damaged",
        problem: `the entry with sequence ${sequence} is damaged`
      })
    }
  })

  it("that was cut short is refused", () => {
    const path = closed()
    const size = statSync(path).size
    for (const length of [0, 1, 99, 100, 8191, 8192, 8193, size >> 1, size - 8192, size - 8000]) {
      const copy = fresh()
      copyFileSync(path, copy)
      truncateSync(copy, length)
      expect({ length, kind: outcomeOf(copy).kind }).toEqual({ length, kind: "damaged" })
    }
  })

  it("with a missing or changed row is refused", () => {
    const path = closed()
    const afterwards = (sql: string) => {
      const copy = fresh()
      copyFileSync(path, copy)
      const db = new Database(copy)
      db.exec(sql)
      db.close()
      return outcomeOf(copy)
    }
    expect(afterwards("SELECT 1").kind).toBe("opened")
    for (const [sql, problem] of [
      ["DELETE FROM segment WHERE first_sequence = 41", "entries between sequence 40 and 61 are missing"],
      ["DELETE FROM segment WHERE first_sequence = 1", "entries between sequence 0 and 21 are missing"],
      [
        "UPDATE segment SET max_version = 1 WHERE first_sequence = 21",
        "the entries from sequence 21 on are damaged"
      ],
      [
        "UPDATE segment SET items = 1000000000 WHERE first_sequence = 21",
        "the entries from sequence 21 on are damaged"
      ],
      [
        "UPDATE segment SET data = zeroblob(length(data)) WHERE first_sequence = 21",
        "the entry with sequence 21 is damaged"
      ],
      [
        "UPDATE segment SET data = 'text' WHERE first_sequence = 21",
        "the entries from sequence 21 on are damaged"
      ],
      [
        "UPDATE segment SET data = hex(zeroblob(4000)) WHERE first_sequence = 21",
        "it holds a row that is damaged"
      ],
      ["UPDATE state SET released = 40", "its state row is damaged"],
      ["DELETE FROM state", "its state row is damaged"],
      ["UPDATE dead_letter SET reason = 'A reason to find'", "the dead letter with sequence 3 is damaged"],
      ["UPDATE dead_letter SET sequence = 4", "the dead letter with sequence 4 is damaged"]
    ]) {
      expect({ sql, ...afterwards(sql!) }).toEqual({ sql, kind: "damaged", problem })
    }
    expect(afterwards("DROP TABLE segment").kind).not.toBe("opened")
  })
})

describe("a failed commit", () => {
  it("leaves nothing and stands in nobody's way", () => {
    const file = LogFile.open(fresh())
    file.commit(segmentsOf(1, recordsOf(1, 5)))
    const [taken] = segmentsOf(1, recordsOf(50, 1))
    expect(() => file.commit([...segmentsOf(6, recordsOf(6, 5)), taken!])).toThrow("UNIQUE")
    file.commit(segmentsOf(6, recordsOf(6, 2)))
    expect(contentOf(file)).toEqual(recordsOf(1, 7).map((record, index) => [index + 1, recordKey(record)]))
    expect(file.counters()).toMatchObject({ commits: 2 })
    file.close()
  })
})

describe("a path that holds no log", () => {
  it.live("fails with the path and what is wrong with it", () =>
    Effect.gen(function* () {
      const text = fresh()
      writeFileSync(
        text,
        "this is not a database, but a text that is long enough to look like something\n".repeat(20)
      )
      const empty = fresh()
      writeFileSync(empty, "")
      const folder = fresh()
      mkdirSync(folder)
      const foreign = fresh()
      new Database(foreign).exec("CREATE TABLE t (a)").close()
      const foreignBytes = readFileSync(foreign)
      const newer = closed(groupSize)
      const db = new Database(newer)
      db.pragma("user_version = 99")
      db.close()
      const lockTaken = fresh()
      writeFileSync(`${lockTaken}-lock`, "something else entirely, of some length".repeat(30))
      for (const [path, kind, problem] of [
        [text, "damaged", "not a SQLite database"],
        [empty, "damaged", "it has 0 bytes"],
        [folder, "cannot-open", "is a directory"],
        [join(text, "below", "log.sqlite"), "cannot-open", "ENOTDIR"],
        ["/dev/null", "cannot-open", "not a regular file"],
        [foreign, "cannot-open", "not a log of this engine"],
        [newer, "cannot-open", "format 99"],
        [lockTaken, "cannot-open", "-lock"],
        ["", "cannot-open", "path"],
        ["a\0b", "cannot-open", "path"]
      ] as const) {
        const error = yield* Effect.flip(Effect.scoped(Effect.asVoid(SqliteLog.open({ path }))))
        expect(error).toMatchObject({ _tag: "LogOpenError", path, kind })
        expect(error.problem).toContain(problem)
        expect(error.message).toContain("Durability cannot be guaranteed")
      }
      expect(readFileSync(foreign).equals(foreignBytes)).toBe(true)
      expect(readFileSync(empty).length).toBe(0)
    })
  )

  it("is left alone while another engine is about to create or to inspect it", () => {
    const path = fresh()
    const other = new Database(`${path}-lock`)
    other.exec("BEGIN EXCLUSIVE")
    expect(outcomeOf(path)).toMatchObject({ kind: "in-use" })
    expect(existsSync(path)).toBe(false)
    other.close()
    expect(outcomeOf(path)).toEqual({ kind: "opened", keys: [] })
    const file = LogFile.open(path)
    const second = new Database(`${path}-lock`, { timeout: 0 })
    expect(() => second.exec("BEGIN EXCLUSIVE")).toThrow("locked")
    second.close()
    file.close()
  })

  it("is created with its directories, and a creation that was cut off is begun again", () => {
    mkdirSync(join(directory, "x"))
    writeFileSync(join(directory, "x", "log.sqlite-new"), "half of a file")
    for (const place of [join(directory, "x", "log.sqlite"), join(directory, "y", "z", "log.sqlite")]) {
      expect(outcomeOf(place)).toEqual({ kind: "opened", keys: [] })
      expect(existsSync(`${place}-new`)).toBe(false)
      expect(existsSync(`${place}-wal`)).toBe(false)
      expect(existsSync(`${place}-shm`)).toBe(false)
    }
  })
})
