/**
 * Damage at rest of the embedded archive: one damaged bit, half of a page, a page in the place of another or never
 * written. Each of the damaged copies is refused, or verification says so, or it holds what it held.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import Database from "better-sqlite3"
import { Effect, Either } from "effect"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import type { OpenArchive } from "../../../src/archive/Archive.js"
import { ArchiveError } from "../../../src/archive/ArchiveError.js"
import * as SqliteArchive from "../../../src/archive/sqlite/SqliteArchive.js"
import { verify } from "../../../src/reconcile/Verify.js"
import { type SyncItem, tombstone } from "../../../src/SyncItem.js"
import { numbers, put } from "../records.js"
import { openInProcess } from "./inProcess.js"

// Seconds alone, much longer on a busy machine.
vi.setConfig({ testTimeout: 300_000 })

const pageBytes = 4096
const ids = Array.from({ length: 40 }, (_, n) => `geo.${n % 3}.${n}`)

let directory = ""
let path = ""
beforeAll(() => {
  directory = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "archive-at-rest-"))
  path = join(directory, "archive.db")
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const recordOf = (n: number) =>
  put(ids[n]!, n + 1, `${n}`.repeat(n === 7 ? 2500 : 30), n % 2 === 0 ? { state: `s${n % 4}` } : {})

const steps = [
  (archive: OpenArchive) => archive.commit(ids.slice(0, 30).map((_, n) => recordOf(n))),
  (archive: OpenArchive) => archive.commit([tombstone(ids[3]!, 200, 300), tombstone(ids[4]!, 201, 301)]),
  (archive: OpenArchive) => archive.commit(ids.slice(30).map((_, n) => recordOf(30 + n)))
]

/** The file after each step. */
const built = async () => {
  for (const suffix of ["", "-wal", "-shm"]) rmSync(path + suffix, { force: true })
  const versions: Array<Buffer> = []
  for (const step of steps) {
    await Effect.runPromise(Effect.scoped(Effect.flatMap(openInProcess(path), step)))
    versions.push(readFileSync(path))
  }
  return { versions, newest: versions.at(-1)! }
}

const shown = (item: SyncItem) => ({ ...item, content: Buffer.from(item.content).toString("latin1") })

/** What readers are given, and what verification says. */
const look = Effect.scoped(
  Effect.gen(function* () {
    const archive = yield* openInProcess(path)
    const items = yield* archive.getMany(ids)
    const read = {
      // What a tombstone holds besides its id is proven by nothing: the tree is over live items.
      items: items
        .filter(({ deleted }) => !deleted)
        .map(shown)
        .sort((a, b) => a.version - b.version),
      page: (yield* archive.scan({ prefix: "" }, { limit: 1000, maxBytes: 1e9 })).map(shown),
      inState: yield* archive.scanIds({ prefix: "", state: "s0" }, 1000),
      count: yield* archive.count({ prefix: "" })
    }
    const tiers = { archive, cache: undefined, exclusively: <A>(effect: A) => effect }
    const { differences, inSync, unchecked } = yield* verify(tiers, { rows: true, contents: true }, () => 0)
    return { read, inSync, named: [...differences, ...unchecked] }
  })
)

type Outcome = "refused" | "found" | "whole"
const tally = () => ({ refused: 0, found: 0, whole: 0 })

const outcomeOf = async (bytes: Buffer, held: unknown): Promise<Outcome> => {
  for (const suffix of ["-wal", "-shm"]) rmSync(path + suffix, { force: true })
  writeFileSync(path, bytes)
  // A defect would throw here.
  const outcome = await Effect.runPromise(Effect.either(look))
  if (Either.isLeft(outcome)) {
    expect(outcome.left.message).not.toBe("")
    if (outcome.left instanceof ArchiveError) expect(outcome.left.problem).not.toBe("")
    return "refused"
  }
  const { inSync, named, read } = outcome.right
  if (!inSync) {
    expect(named.length).toBeGreaterThan(0)
    return "found"
  }
  expect(read).toEqual(held)
  return "whole"
}

const heldIn = async (bytes: Buffer) => {
  writeFileSync(path, bytes)
  const { inSync, read } = await Effect.runPromise(look)
  expect([inSync, read.items.length, read.page.length]).toEqual([true, 38, 38])
  return read
}

describe("an embedded archive with damage at rest", () => {
  it("one bit, anywhere", async () => {
    const { newest } = await built()
    const held = await heldIn(newest)
    const below = numbers(21)
    const counts = tally()
    const inUse = [...newest.keys()].filter((at) => newest[at] !== 0)
    for (let at = below(10); at < inUse.length; at += 1 + below(110)) {
      const bytes = Buffer.from(newest)
      bytes[inUse[at]!]! ^= 1 << below(8)
      counts[await outcomeOf(bytes, held)]++
    }
    expect(counts.found).toBeGreaterThan(50)
    expect(counts.refused).toBeGreaterThan(10)
    expect(counts.whole).toBeGreaterThan(10)
  })

  it("a page in the place of another, half of one, or one that was never written", async () => {
    const { newest, versions } = await built()
    const held = await heldIn(newest)
    const below = numbers(22)
    const counts = tally()
    const pages = newest.length / pageBytes
    for (let page = 0; page < pages; page++) {
      const at = page * pageBytes
      const whole = newest.subarray(at, at + pageBytes)
      const other = below(pages) * pageBytes
      const olds = versions.map((version) => version.subarray(at, at + pageBytes))
      for (const old of [newest.subarray(other, other + pageBytes), Buffer.alloc(pageBytes), ...olds]) {
        if (old.length < pageBytes || old.equals(whole)) continue
        for (const cut of [pageBytes, 512 * (1 + below(7))]) {
          const bytes = Buffer.from(newest)
          old.copy(bytes, at, 0, cut)
          counts[await outcomeOf(bytes, held)]++
        }
      }
    }
    expect(counts.refused).toBeGreaterThan(20)
    expect(counts.found).toBeGreaterThan(5)
  })

  it("an index that is not what its rows say, looked for by a thread of its own", async () => {
    const { newest, versions } = await built()
    const db = new Database(path, { readonly: true })
    const root = db.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'items_by_state'").pluck().get()
    db.close()
    const at = ((root as number) - 1) * pageBytes
    const stale = Buffer.from(newest)
    versions[0]!.copy(stale, at, at, at + pageBytes)
    const damage = Effect.scoped(Effect.flatMap(SqliteArchive.make({ path }), (archive) => archive.damage))
    writeFileSync(path, newest)
    expect(await Effect.runPromise(damage)).toBe(undefined)
    writeFileSync(path, stale)
    expect(await Effect.runPromise(damage)).toContain("items_by_state")
  })
})
