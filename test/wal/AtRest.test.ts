/**
 * Damage at rest: one damaged byte, half of a page, a page in the place of another, a page that was never written. The
 * log is proven when it is opened, so each of thousands of damaged copies is refused for what it is, or holds exactly
 * what it held before.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import Database from "better-sqlite3"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { CuckooFilter } from "../../src/filter/CuckooFilter.js"
import { decodeFilterSnapshot, encodeFilterSnapshot } from "../../src/filter/FilterSnapshot.js"
import { LogFile } from "../../src/wal/LogFile.js"
import { openProblemOf } from "../../src/wal/LogProtocol.js"
import { encodeOne } from "../../src/wal/SegmentWriter.js"
import { atOnce } from "../support/atOnce.js"
import { contentOf, copyAfterCrash, recordOf, recordsOf, seeded, segmentsOf } from "./support.js"

const pageBytes = 8192
const frameBytes = 24 + pageBytes

/** In memory where that can be had: thousands of copies are synced. */
let directory = ""
let path = ""
beforeAll(() => {
  directory = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "sync-engine-at-rest-"))
  path = join(directory, "log.sqlite")
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const filter = new CuckooFilter({ capacity: 200 })
for (let n = 0; n < 50; n++) filter.add(`item.${n}`)
const snapshot = Buffer.from(atOnce(encodeFilterSnapshot({ filter, root: "ab".repeat(32), entryCount: 50 })))

const letter = (sequence: number) => ({
  sequence,
  reason: `reason ${sequence}`,
  at: sequence,
  data: encodeOne(recordOf(sequence, 100))
})

const snapshotIn = (file: LogFile): Buffer | undefined => {
  const parts: Array<Uint8Array> = []
  for (let part = file.readSnapshotPart(0); part !== undefined; part = file.readSnapshotPart(parts.length))
    parts.push(part)
  return parts.length === 0 ? undefined : Buffer.concat(parts)
}

/** All that a log holds, but its name: another one is always safe. */
const heldBy = (file: LogFile): string => {
  const { identity: _, ...opened } = file.opened
  const letters = file
    .listDeadLetters(0, 100, 1e9)
    .map(({ data, ...more }) => [more, Buffer.from(data).toString("hex")])
  return JSON.stringify([opened, contentOf(file), letters])
}

/** The steps in which the log came to be; after each the file was closed, so each is what a lost write leaves. */
const steps: ReadonlyArray<(file: LogFile) => void> = [
  (file) => {
    for (let first = 1; first <= 30; first += 5) file.commit(segmentsOf(first, recordsOf(first, 5, 40)))
    file.commit(segmentsOf(31, [recordOf(31, 9000)]))
    file.release(7)
    file.addDeadLetters([letter(3)])
    file.bind({ lineage: "11111111-2222-4333-8444-555555555555", archived: true, carriedTo: 9 })
    file.writeSnapshotPart(0, snapshot.subarray(0, 300))
    file.writeSnapshotPart(1, snapshot.subarray(300))
    file.publishSnapshot(2)
  },
  (file) => file.commit(segmentsOf(32, recordsOf(32, 2, 40))),
  (file) => void file.release(12),
  (file) => {
    file.commit(segmentsOf(34, recordsOf(34, 2, 40)))
    file.bind({ lineage: "11111111-2222-4333-8444-555555555555", archived: true, carriedTo: 20 })
  },
  (file) => void file.addDeadLetters([letter(14)]),
  (file) => void file.removeDeadLetters([3]),
  (file) => file.commit(segmentsOf(36, recordsOf(36, 2, 40)))
]

/** The file after each step, what the last one holds, and the number of the page with the state row. */
const built = () => {
  for (const suffix of ["", "-wal"]) rmSync(path + suffix, { force: true })
  const versions = steps.map((step) => {
    const file = LogFile.open(path)
    step(file)
    file.close()
    return readFileSync(path)
  })
  const file = LogFile.open(path)
  const held = heldBy(file)
  file.close()
  const db = new Database(path, { readonly: true })
  const state = db.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'state'").pluck().get() as number
  db.close()
  return { versions, newest: versions.at(-1)!, held, state: state - 1 }
}

type Outcome = "refused" | "whole" | "without its snapshot"

/** Opens the file with these bytes. Written in its place: a copy has another name, which would be one sync more. */
const outcomeOf = (bytes: Buffer, held: string, wal?: Buffer): Outcome => {
  rmSync(`${path}-wal`, { force: true })
  if (wal !== undefined) writeFileSync(`${path}-wal`, wal)
  writeFileSync(path, bytes)
  let file: LogFile
  try {
    file = LogFile.open(path)
  } catch (error) {
    const { kind, problem } = openProblemOf(error)
    expect(["damaged", "cannot-open"]).toContain(kind)
    expect(problem).not.toBe("")
    return "refused"
  }
  try {
    expect(heldBy(file)).toBe(held)
    const found = snapshotIn(file)
    if (found?.equals(snapshot)) return "whole"
    if (found !== undefined) expect(decodeFilterSnapshot(found)).toEqual(expect.any(String))
    return "without its snapshot"
  } finally {
    file.close()
  }
}

const tally = () => {
  const counts: Record<Outcome, number> = { refused: 0, whole: 0, "without its snapshot": 0 }
  return { counts, add: (outcome: Outcome) => void counts[outcome]++ }
}

describe("a log with damage at rest", () => {
  it("one bit, anywhere: refused, or it meant nothing", () => {
    const { held, newest } = built()
    const random = seeded(11)
    const { add, counts } = tally()
    const inUse = [...newest.keys()].filter((at) => newest[at] !== 0)
    const places = new Set<number>()
    for (let at = random.below(5); at < inUse.length; at += 1 + random.below(39)) places.add(inUse[at]!)
    for (let n = 0; n < 100; n++) places.add(random.below(newest.length))
    for (const at of places) {
      const bytes = Buffer.from(newest)
      bytes[at]! ^= 1 << random.below(8)
      add(outcomeOf(bytes, held))
    }
    expect(counts.refused).toBeGreaterThan(300)
    expect(counts.whole).toBeGreaterThan(50)
    expect(counts["without its snapshot"]).toBeGreaterThan(3)
  })

  it("half of a page: the rest of it zeros, or as it was earlier", () => {
    const { held, newest, versions } = built()
    const { add, counts } = tally()
    for (let page = 0; page < newest.length / pageBytes; page++) {
      const [from, to] = [page * pageBytes, (page + 1) * pageBytes]
      const olds = versions.map((version) => version.subarray(from, to))
      const others = [Buffer.alloc(pageBytes), ...olds.filter((old) => old.length === pageBytes)]
      const different = others.filter((old, index) => others.findIndex((one) => one.equals(old)) === index)
      for (const old of different.filter((one) => !one.equals(newest.subarray(from, to)))) {
        for (let cut = 512; cut < pageBytes; cut += 512) {
          const [head, tail] = [Buffer.from(newest), Buffer.from(newest)]
          old.copy(head, from, 0, cut)
          old.copy(tail, from + cut, cut)
          add(outcomeOf(head, held))
          add(outcomeOf(tail, held))
        }
      }
    }
    expect(counts.refused).toBeGreaterThan(500)
    expect(counts.whole).toBeGreaterThan(10)
  })

  it("a page in the place of another", () => {
    const { held, newest } = built()
    const { add, counts } = tally()
    const pages = newest.length / pageBytes
    for (let from = 0; from < pages; from++) {
      for (let to = 0; to < pages; to++) {
        if (from === to) continue
        const bytes = Buffer.from(newest)
        newest.copy(bytes, to * pageBytes, from * pageBytes, (from + 1) * pageBytes)
        add(outcomeOf(bytes, held))
      }
    }
    expect(counts.refused + counts["without its snapshot"]).toBe(pages * (pages - 1))
    expect(counts.refused).toBeGreaterThan(100)
  })

  it("pages that were never written, any of them together, the state's own page alone", () => {
    const { held, newest, state, versions } = built()
    const { add, counts } = tally()
    for (const old of versions.slice(0, -1)) {
      const same = (page: number) =>
        newest
          .subarray(page * pageBytes, (page + 1) * pageBytes)
          .equals(old.subarray(page * pageBytes, (page + 1) * pageBytes))
      const differing = [...Array(newest.length / pageBytes).keys()].filter((page) => !same(page))
      expect(differing).toContain(state)
      for (let set = 1; set < 1 << differing.length; set++) {
        const lost = differing.filter((_, index) => (set & (1 << index)) !== 0)
        // With the page of the state row it is the log as it was earlier: a backup that was put back looks so too.
        if (lost.includes(state) && lost.length > 1) continue
        const bytes = Buffer.from(newest)
        for (const page of lost) {
          bytes.fill(0, page * pageBytes, (page + 1) * pageBytes)
          old.copy(bytes, page * pageBytes, page * pageBytes, (page + 1) * pageBytes)
        }
        add(outcomeOf(bytes, held))
      }
    }
    expect(counts.refused).toBeGreaterThan(25)
    expect(counts.whole).toBeGreaterThan(0)
  })

  it("frames of its -wal file lost or in the place of others, before the last two transactions", () => {
    built()
    const file = LogFile.open(path)
    for (const first of [38, 40, 42])
      file.commit(segmentsOf(first, recordsOf(first, 2, first === 40 ? 9000 : 40)))
    const before = statSync(`${path}-wal`).size
    for (const first of [44, 46]) file.commit(segmentsOf(first, recordsOf(first, 2, 40)))
    const copy = join(directory, "crashed")
    copyAfterCrash(path, copy)
    file.close()
    const wal = readFileSync(`${copy}-wal`)
    const frames = (before - 32) / frameBytes
    let refused = 0
    for (let at = 0; at < frames; at++) {
      const place = 32 + at * frameBytes
      for (let from = -1; from < wal.length / frameBytes - 1; from++) {
        if (from === at) continue
        const bytes = Buffer.from(wal)
        if (from === -1) bytes.fill(0, place, place + frameBytes)
        else wal.copy(bytes, place, 32 + from * frameBytes, 32 + (from + 1) * frameBytes)
        expect({ at, from, outcome: outcomeOf(readFileSync(copy), "", bytes) }).toEqual({
          at,
          from,
          outcome: "refused"
        })
        refused++
      }
    }
    expect(refused).toBeGreaterThan(30)
  })
})
