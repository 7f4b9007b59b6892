/** What every archive must do; run over memory, SQLite and MySQL. */

import { it } from "@effect/vitest"
import { Effect, Option, type Scope } from "effect"
import { describe, expect } from "vitest"
import type { OpenArchive } from "../../src/archive/Archive.js"
import { compareBytes } from "../../src/merkle/ByteOrder.js"
import { emptyRoot } from "../../src/merkle/Digest.js"
import { MerkleTree } from "../../src/merkle/MerkleTree.js"
import type { TreeChild } from "../../src/merkle/Tree.js"
import { type TreeChange, TreeDelta } from "../../src/merkle/TreeDelta.js"
import { type ItemRecord, type SyncItem, tombstone } from "../../src/SyncItem.js"
import { recompute } from "../support/recompute.js"
import { numbers, put } from "./records.js"
import { describeWriters } from "./writersSuite.js"

export { numbers, put } from "./records.js"

export interface ArchiveUnderTest {
  readonly archive: OpenArchive
  /** Changes a live row's updatedAt behind the tree's back. */
  readonly damage: (id: string) => Effect.Effect<void>
  /** Another node's archive on the same store. */
  readonly another: Effect.Effect<OpenArchive, unknown, Scope.Scope>
}

const fieldsOf = (before: TreeChange["before"]) =>
  new Map(
    Array.from(before, ([id, { contentHash, deleted, updatedAt, version }]) => [
      id,
      { contentHash, deleted, updatedAt, version }
    ])
  )

const ids = (items: ReadonlyArray<{ readonly id: string }>) => items.map((item) => item.id)
const itemOf = ({ deleted: _, ...item }: ItemRecord): SyncItem => item
const byId = (a: { readonly id: string }, b: { readonly id: string }) => compareBytes(a.id, b.id)

const allChildren = (archive: OpenArchive, path: string, limit: number) =>
  Effect.gen(function* () {
    const all: Array<TreeChild> = []
    while (true) {
      const last = all[all.length - 1]
      const page = yield* archive.children(path, {
        limit,
        after: last === undefined ? undefined : { name: last.name, kind: last.kind }
      })
      expect(page.length).toBeLessThanOrEqual(limit)
      all.push(...page)
      if (page.length < limit) return all
    }
  })

const allItems = (archive: OpenArchive, range: { prefix: string; state?: string }, limit: number) =>
  Effect.gen(function* () {
    const all: Array<SyncItem> = []
    while (true) {
      const page = yield* archive.scan(
        { ...range, after: all[all.length - 1]?.id },
        { limit, maxBytes: Number.MAX_SAFE_INTEGER }
      )
      all.push(...page)
      if (page.length < limit) return all
    }
  })

export const describeArchive = (
  name: string,
  fresh: Effect.Effect<ArchiveUnderTest, unknown, Scope.Scope>,
  options: { readonly timeout?: number } = {}
): void => {
  const test = (
    title: string,
    body: (archive: OpenArchive, damage: ArchiveUnderTest["damage"]) => Effect.Effect<void, unknown>
  ) =>
    it.scopedLive(
      title,
      () => Effect.flatMap(fresh, ({ archive, damage }) => body(archive, damage)),
      options.timeout ?? 20_000
    )

  describeWriters(`${name}: its writers' register`, fresh, options)

  describe(name, () => {
    test("starts empty", (archive) =>
      Effect.gen(function* () {
        yield* archive.ping
        expect(yield* archive.root).toBe(emptyRoot)
        expect(yield* archive.node("")).toEqual(Option.none())
        expect(yield* archive.maxVersion).toBe(0)
        expect(yield* archive.count({ prefix: "" })).toBe(0)
        expect(yield* recompute(archive)).toEqual({ root: emptyRoot, rows: 0 })
        expect(yield* archive.children("", { limit: 10 })).toEqual([])
        expect(yield* archive.commit([])).toMatchObject({
          applied: 0,
          superseded: [],
          repeated: [],
          rootBefore: emptyRoot,
          rootAfter: emptyRoot,
          topVersion: 0
        })
        expect(yield* archive.rebuildTree).toEqual({ root: emptyRoot, rows: 0 })
        expect(yield* archive.getMany([])).toEqual([])
      }))

    test("keeps every field exactly", (archive) =>
      Effect.gen(function* () {
        const bytes = Uint8Array.from({ length: 512 }, (_, i) => i & 0xff)
        const records = [
          put("a.json", Number.MAX_SAFE_INTEGER, undefined, {
            content: new TextEncoder().encode('{ "b" : [1,2.0] , "é":"\\u0000" }'),
            contentType: "json",
            updatedAt: Number.MAX_SAFE_INTEGER - 1,
            state: "état 'x\\",
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
          }),
          put("a.bytes", 2 ** 51 + 1, undefined, { content: bytes }),
          put("a.empty", 1, ""),
          put("q'uo\"te\\.`x`;--", 3, "x", { state: "%_" }),
          put("x".repeat(255), 4, "long id"),
          tombstone("a.gone", 5, 77, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
        ]
        const result = yield* archive.commit(records)
        expect(result.applied).toBe(records.length)
        const stored = yield* archive.getMany([...ids(records), "absent", "a"])
        expect([...stored].sort(byId)).toEqual([...records].sort(byId))
        expect([...(yield* archive.heads(ids(records)))].sort(byId)).toEqual(
          [...records].sort(byId).map(({ contentHash, contentType, deleted, id, state, version }) => ({
            id,
            version,
            contentHash,
            deleted,
            contentType,
            state
          }))
        )
        const scanned = yield* archive.scan({ prefix: "" }, { limit: 100, maxBytes: 1e9 })
        expect(scanned).toEqual(
          records
            .filter((record) => !record.deleted)
            .sort(byId)
            .map(itemOf)
        )
        expect(yield* archive.maxVersion).toBe(Number.MAX_SAFE_INTEGER)
      }))

    test("keeps ids apart that a text collation would merge", (archive) =>
      Effect.gen(function* () {
        const similar = [
          "User.1",
          "user.1",
          "üser.1",
          "user.1 ",
          "user_1",
          "user%1",
          "user.１",
          "u\u0308ser.1",
          "user. 1",
          "USER",
          "user",
          "user "
        ]
        yield* archive.commit(similar.map((id) => put(id, 1)))
        expect(yield* archive.count({ prefix: "" })).toBe(similar.length)
        for (const id of similar) expect(ids(yield* archive.getMany([id]))).toEqual([id])
        expect(yield* archive.scanIds({ prefix: "user" }, 100)).toEqual([
          "user",
          "user. 1",
          "user.1",
          "user.1 ",
          "user.１"
        ])
        expect(yield* archive.scanIds({ prefix: "user%1" }, 100)).toEqual(["user%1"])
        expect(yield* archive.scanIds({ prefix: "user_1" }, 100)).toEqual(["user_1"])
        expect(yield* archive.scanIds({ prefix: "USER" }, 100)).toEqual(["USER"])
        yield* archive.commit([tombstone("user.1", 2, 2)])
        expect(yield* archive.count({ prefix: "" })).toBe(similar.length - 1)
        expect(yield* archive.count({ prefix: "user" })).toBe(4)
      }))

    test("sorts by the bytes of UTF-8, above U+FFFF too", (archive) =>
      Effect.gen(function* () {
        const names = ["😀", "\uff21", "z", "é", "\ue000", "𐀀"]
        yield* archive.commit(names.map((name) => put(`n.${name}`, 1)))
        const sorted = names
          .map((name) => `n.${name}`)
          .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
        const paged: Array<string> = []
        for (let i = 0; i < names.length; i++) {
          paged.push(...(yield* archive.scanIds({ prefix: "n", after: paged[paged.length - 1] }, 1)))
        }
        expect(paged).toEqual(sorted)
        expect((yield* allChildren(archive, "n", 2)).map(({ name }) => `n.${name}`)).toEqual(sorted)
      }))

    test("lets the newest win, and says what is newer", (archive) =>
      Effect.gen(function* () {
        const first = put("a", 5, "five")
        expect((yield* archive.commit([first])).applied).toBe(1)
        const again = yield* archive.commit([first])
        expect(again).toMatchObject({ applied: 0, superseded: [], repeated: [first], topVersion: 5 })
        expect(again.rootAfter).toBe(again.rootBefore)

        const late = put("a", 4, "four")
        const older = yield* archive.commit([late, put("b", 1)])
        expect(older).toMatchObject({ applied: 1, repeated: [], topVersion: 5 })
        expect(older.superseded).toEqual([{ submitted: late, stored: first }])
      }))

    test("another content of a stored version never replaces it, whatever its hash", (archive) =>
      Effect.gen(function* () {
        const some = [put("a", 3, "x"), put("a", 3, "y"), put("a", 3, ""), tombstone("a", 3, 1_003)]
        for (const [n, taken] of some.entries()) {
          const id = `id.${n}`
          const first = { ...taken, id }
          yield* archive.commit([first])
          const root = yield* archive.root
          for (const other of some) {
            const submitted = { ...other, id }
            const result = yield* archive.commit([submitted])
            expect(result).toMatchObject({ applied: 0, rootAfter: root, topVersion: 3 })
            if (other === taken) expect(result).toMatchObject({ superseded: [], repeated: [first] })
            else expect(result).toMatchObject({ superseded: [{ submitted, stored: first }], repeated: [] })
          }
          expect(yield* archive.getMany([id])).toEqual([first])
        }
      }))

    test("tells a repeated version from one with another state or content type", (archive) =>
      Effect.gen(function* () {
        const first = put("a", 5, "1", { contentType: "json", state: "draft", updatedAt: 10 })
        const gone = tombstone("b", 3, 11)
        yield* archive.commit([first, gone])
        const root = yield* archive.root
        const late = { ...first, updatedAt: 99, traceparent: undefined }
        const repeat = yield* archive.commit([late, { ...gone, updatedAt: 98 }])
        expect(repeat).toMatchObject({ applied: 0, superseded: [], rootAfter: root })
        expect(repeat.repeated).toEqual([first, gone])
        const others = [
          { ...late, state: "new" },
          { ...late, state: undefined },
          { ...late, contentType: "binary" as const }
        ]
        for (const submitted of others) {
          const conflict = yield* archive.commit([submitted])
          expect(conflict).toMatchObject({ applied: 0, repeated: [], rootAfter: root })
          expect(conflict.superseded).toEqual([{ submitted, stored: first }])
        }
        expect(yield* archive.getMany(["a"])).toEqual([first])
      }))

    test("deletes with tombstones that a late older put cannot undo", (archive) =>
      Effect.gen(function* () {
        yield* archive.commit([put("a.b", 1, "x", { state: "s" }), put("a", 1)])
        const before = yield* archive.root
        yield* archive.commit([put("a.c", 1)])
        yield* archive.commit([tombstone("a.c", 3, 9)])
        expect(yield* archive.root).toBe(before)
        const late = yield* archive.commit([put("a.c", 2)])
        expect(late).toMatchObject({
          applied: 0,
          superseded: [{ stored: { id: "a.c", version: 3, deleted: true } }]
        })
        expect(yield* archive.scanIds({ prefix: "a" }, 10)).toEqual(["a", "a.b"])
        expect(yield* archive.getMany(["a.c"])).toEqual([tombstone("a.c", 3, 9)])
        yield* archive.commit([tombstone("a.b", 2, 9)])
        expect(yield* archive.node("a")).toEqual(Option.none())
        expect(yield* archive.count({ prefix: "", state: "s" })).toBe(0)
        expect((yield* archive.commit([put("a.c", 4)])).applied).toBe(1)
        expect(yield* archive.node("a")).toMatchObject({ value: { count: 1 } })
        // A tombstone of an id that never was moves only the highest version.
        const root = yield* archive.root
        yield* archive.commit([tombstone("never.was", 99, 9)])
        expect(yield* archive.root).toBe(root)
        expect(yield* archive.maxVersion).toBe(99)
      }))

    test("keeps the tree equal to the model through random batches", (archive) =>
      Effect.gen(function* () {
        const random = numbers(11)
        const segments = ["a", "b", "a-b", "c d", "é", "😀", "z"]
        const model = new MerkleTree()
        const stored = new Map<string, ItemRecord>()
        for (let round = 0; round < 25; round++) {
          const batch = new Map<string, ItemRecord>()
          const size = [1, 3, 40, 300][random(4)]!
          for (let i = 0; i < size; i++) {
            const id = Array.from({ length: 1 + random(4) }, () => segments[random(segments.length)]!).join(
              "."
            )
            const version = 1 + random(60)
            batch.set(
              id,
              random(4) === 0 ? tombstone(id, version, version) : put(id, version, String(random(3)))
            )
          }
          const rootBefore = model.root
          const superseded: Array<string> = []
          const repeated: Array<string> = []
          const before = new Map<string, ItemRecord>()
          const delta = new TreeDelta()
          let applied = 0
          for (const record of batch.values()) {
            const current = stored.get(record.id)
            const key = (r: ItemRecord) => `${r.version} ${r.contentHash} ${r.deleted}`
            if (current !== undefined && current.version >= record.version) {
              if (key(current) === key(record)) repeated.push(record.id)
              else superseded.push(record.id)
              continue
            }
            applied++
            if (current !== undefined) before.set(record.id, current)
            delta.change(
              current?.deleted === false ? current : undefined,
              record.deleted ? undefined : record
            )
            stored.set(record.id, record)
            model.apply([{ id: record.id, after: record.deleted ? undefined : record }])
          }
          const { change, ...result } = yield* archive.commit([...batch.values()])
          const lost = result.superseded.map(({ submitted }) => submitted)
          if (change !== undefined) {
            expect(fieldsOf(change.before)).toEqual(fieldsOf(before))
            expect(change.delta).toEqual(delta.toMap())
          }
          expect({
            ...result,
            superseded: ids(lost).sort(),
            repeated: ids(result.repeated).sort()
          }).toEqual({
            applied,
            superseded: superseded.sort(),
            repeated: repeated.sort(),
            rootBefore,
            rootAfter: model.root,
            topVersion: Math.max(...[...stored.values()].map(({ version }) => version))
          })
          for (const { stored: held, submitted } of result.superseded) {
            expect(held).toEqual(stored.get(submitted.id))
          }
          for (const held of result.repeated) expect(held).toEqual(stored.get(held.id))
        }
        const live = [...stored.values()].filter((record) => !record.deleted).sort(byId)
        expect(yield* recompute(archive)).toEqual({ root: model.root, rows: live.length })
        expect(yield* allItems(archive, { prefix: "" }, 37)).toEqual(live.map(itemOf))
        for (const [path] of model.totals()) {
          expect(yield* archive.node(path)).toEqual(Option.some(model.node(path)))
          expect(yield* allChildren(archive, path, 3)).toEqual(model.children(path))
          expect(yield* archive.leaves(path, { limit: 1_000 })).toEqual(
            model
              .children(path)
              .filter(({ kind }) => kind === "leaf")
              .map(({ digest, name }) => ({ name, digest }))
          )
          expect(yield* archive.count({ prefix: path })).toBe(
            path === ""
              ? live.length
              : live.filter(({ id }) => id === path || id.startsWith(`${path}.`)).length
          )
        }
        expect(yield* archive.node("nowhere")).toEqual(Option.none())
        yield* archive.commit(live.map((record) => tombstone(record.id, 1_000, 1)))
        expect(yield* archive.root).toBe(emptyRoot)
        expect(yield* archive.children("", { limit: 10 })).toEqual([])
      }))

    test("selects by prefix, state and cursor, and pages by bytes", (archive) =>
      Effect.gen(function* () {
        const names = [
          "geo",
          "geo-x",
          "geo.de.1",
          "geo.fr",
          "geo.fr-1",
          "geo.fr.1",
          "geo.fr.2",
          "geo/",
          "geo0",
          "gep",
          "ge"
        ]
        yield* archive.commit(
          names.map((id, i) => put(id, 1, "12345678", { state: i % 2 === 0 ? "even" : "odd" }))
        )
        yield* archive.commit([tombstone("geo.fr.3", 1, 1)])
        const select = (prefix: string, more: { state?: string; after?: string } = {}) =>
          archive.scanIds({ prefix, ...more }, 100)
        const below = ["geo", "geo.de.1", "geo.fr", "geo.fr-1", "geo.fr.1", "geo.fr.2"]
        expect(yield* select("geo")).toEqual(below)
        expect(yield* select("")).toEqual([...names].sort(compareBytes))
        expect(yield* select("geo.fr")).toEqual(["geo.fr", "geo.fr.1", "geo.fr.2"])
        expect(yield* select("geo.x")).toEqual([])
        for (const state of ["even", "odd", "none"]) {
          const expected = below.filter(
            (id) => state !== "none" && (names.indexOf(id) % 2 === 0) === (state === "even")
          )
          expect(yield* select("geo", { state })).toEqual(expected)
          expect(yield* archive.count({ prefix: "geo", state })).toBe(expected.length)
        }
        for (const after of [
          "a",
          "ge",
          "geo",
          "geo-",
          "geo-x",
          "geo.",
          "geo.fr",
          "geo.fr.1",
          "geo.fr.2",
          "geo/",
          "z"
        ]) {
          const expected = below.filter((id) => id > after)
          expect(yield* select("geo", { after })).toEqual(expected)
          expect(yield* archive.count({ prefix: "geo", after })).toBe(expected.length)
          expect(ids(yield* archive.scan({ prefix: "geo", after }, { limit: 100, maxBytes: 1e9 }))).toEqual(
            expected
          )
        }
        const page = (limit: number, maxBytes: number) =>
          Effect.map(archive.scan({ prefix: "geo" }, { limit, maxBytes }), ids)
        expect(yield* page(2, 1e9)).toEqual(below.slice(0, 2))
        expect(yield* page(1, 1e9)).toEqual(["geo"])
        expect(yield* page(100, 24)).toEqual(below.slice(0, 3))
        expect(yield* page(100, 23)).toEqual(below.slice(0, 2))
        expect(yield* page(100, 0)).toEqual(["geo"])
        expect(yield* archive.scanIds({ prefix: "geo" }, 3)).toEqual(below.slice(0, 3))
      }))

    test("pages the children of a wide path over its branches", (archive) =>
      Effect.gen(function* () {
        const records: Array<ItemRecord> = []
        for (let i = 0; i < 400; i++) {
          const name = `w.${String(i).padStart(4, "0")}`
          if (i % 3 !== 0) records.push(put(name, 1))
          if (i % 2 === 0) records.push(put(`${name}.x`, 1), put(`${name}.y.z`, 1))
          if (i % 50 === 0) records.push(put(`${name}-a.b`, 1), put(`${name}-a`, 1))
        }
        yield* archive.commit(records)
        const model = MerkleTree.from(records)
        for (const limit of [7, 100, 1_000]) {
          expect(yield* allChildren(archive, "w", limit)).toEqual(model.children("w"))
          const branches: Array<TreeChild> = []
          while (branches.length % limit === 0) {
            const page = yield* archive.branches("w", { limit, after: branches[branches.length - 1]?.name })
            if (page.length === 0) break
            branches.push(...page)
          }
          expect(branches).toEqual(model.children("w").filter(({ kind }) => kind === "branch"))
        }
        const leaves = model
          .children("w")
          .filter(({ kind }) => kind === "leaf")
          .map(({ digest, name }) => ({ name, digest }))
        for (const [after, upTo] of [
          [undefined, undefined],
          [undefined, "0004"],
          ["0003", "0003"],
          ["0003", "0050-a"],
          ["0050", "0100-"],
          ["0399", undefined]
        ]) {
          const within = leaves.filter(
            ({ name }) =>
              (after === undefined || compareBytes(name, after) > 0) &&
              (upTo === undefined || compareBytes(name, upTo) <= 0)
          )
          for (const limit of [1, 7, 1_000]) {
            expect(yield* archive.leaves("w", { after, upTo, limit })).toEqual(within.slice(0, limit))
          }
        }
        // Where there are leaves alone.
        const alone = model.children("w.0000.y").map(({ digest, name }) => ({ name, digest }))
        expect(yield* archive.leaves("w.0000.y", { upTo: "z", limit: 5 })).toEqual(alone)
        expect(yield* archive.leaves("w.0000.y", { upTo: "y", limit: 5 })).toEqual([])
        expect(yield* archive.leaves("w.0000.y", { after: "z", limit: 5 })).toEqual([])
        expect(yield* archive.leaves("w.0001", { limit: 5 })).toEqual([])
        expect(yield* archive.leaves("", { limit: 5 })).toEqual([])
        expect(yield* archive.leaves("w", { limit: 0 })).toEqual([])
        expect(yield* allChildren(archive, "", 10)).toEqual(model.children(""))
        expect(yield* archive.children("w", { limit: 0 })).toEqual([])
        expect(yield* archive.children("nowhere", { limit: 5 })).toEqual([])
      }))

    test("finds damage by recomputing and mends the tree by rebuilding", (archive, damage) =>
      Effect.gen(function* () {
        const records = Array.from({ length: 5_000 }, (_, i) => put(`r.${i % 40}.${i}`, 1 + (i % 7), "x"))
        yield* archive.commit(records)
        const good = yield* archive.root
        expect(good).toBe(MerkleTree.from(records).root)
        expect(yield* recompute(archive)).toEqual({ root: good, rows: 5_000 })
        yield* damage("r.3.123")
        yield* archive.commit([tombstone("r.3.3", 99, 99)])
        const truth = yield* recompute(archive)
        expect(truth.rows).toBe(4_999)
        expect(truth.root).not.toBe(yield* archive.root)
        expect(yield* archive.rebuildTree).toEqual(truth)
        expect(yield* archive.root).toBe(truth.root)
        expect(yield* archive.maxVersion).toBe(99)
        const damaged = (yield* archive.getMany(["r.3.123"]))[0]!
        const model = MerkleTree.from([
          ...records.filter(({ id }) => id !== "r.3.3" && id !== "r.3.123"),
          damaged
        ])
        expect(yield* allChildren(archive, "r", 9)).toEqual(model.children("r"))
        const next = put("r.3.123", 50, "mended")
        const result = yield* archive.commit([next])
        expect(result.rootBefore).toBe(truth.root)
        model.apply([{ id: next.id, after: next }])
        expect(result.rootAfter).toBe(model.root)
      }))

    test("reads rows and stored nodes for whoever proves that they agree", (archive) =>
      Effect.gen(function* () {
        const records = Array.from({ length: 300 }, (_, i) => put(`r.${i % 7}.${i}`, 1 + i, "x"))
        yield* archive.commit([
          ...records,
          put("r", 1, "x"),
          put("r-s.t", 1, "x"),
          tombstone("r.3.1000", 9, 9)
        ])
        const model = MerkleTree.from([...records, put("r", 1, "x"), put("r-s.t", 1, "x")])
        yield* archive.reading((reader) =>
          Effect.gen(function* () {
            expect(yield* reader.root).toBe(model.root)
            const rows: Array<string> = []
            for (;;) {
              const page = yield* reader.leaves(rows[rows.length - 1] ?? "", 120)
              for (const { contentHash, id, updatedAt, version } of page) {
                rows.push(id)
                expect({ contentHash, id, updatedAt, version }).toMatchObject({
                  version: model.leaf(id)!.version,
                  updatedAt: model.leaf(id)!.updatedAt,
                  contentHash: model.leaf(id)!.contentHash
                })
              }
              if (page.length < 120) break
            }
            expect(rows).toEqual(["r", ...ids([...records, put("r-s.t", 1, "x")].sort(byId))])
            const paths = [...model.totals().keys()].filter((path) => path !== "").sort(compareBytes)
            expect(yield* reader.nodeCount).toBe(paths.length)
            const first = yield* reader.nodePaths("", 4)
            expect([...first, ...(yield* reader.nodePaths(first[3]!, 100))]).toEqual(paths)
            const nodes = yield* reader.nodes(["", "r.3", "no", "r-s"])
            expect(new Map(nodes.map(({ path, ...total }) => [path, total]))).toEqual(
              new Map(["", "r.3", "r-s"].map((path) => [path, model.totals().get(path)]))
            )
          })
        )
      }))

    test("purges old tombstones only, a few at a time", (archive) =>
      Effect.gen(function* () {
        yield* archive.commit([
          put("live", 1, "x", { updatedAt: 1 }),
          ...Array.from({ length: 5 }, (_, i) => tombstone(`t.${i}`, 1, 10 * i)),
          tombstone("t.new", 1, 1_000)
        ])
        expect(yield* archive.purgeTombstones(1_000, 2)).toBe(2)
        expect(ids(yield* archive.heads(["t.0", "t.1", "t.2"]))).toEqual(["t.2"])
        expect(yield* archive.purgeTombstones(1_000, 100)).toBe(3)
        expect(yield* archive.purgeTombstones(1_000, 100)).toBe(0)
        expect(ids(yield* archive.heads(["t.0", "t.4", "t.new", "live"])).sort()).toEqual(["live", "t.new"])
        expect(yield* archive.count({ prefix: "" })).toBe(1)
      }))

    test("takes large batches and large contents", (archive) =>
      Effect.gen(function* () {
        const big = put("big.one", 1, undefined, { content: new Uint8Array(6_000_000).map((_, i) => i * 31) })
        const half = put("big.half", 1, undefined, { content: new Uint8Array(700_000).fill(7) })
        const many = Array.from({ length: 2_777 }, (_, i) => put(`many.${i}`, 1, "v".repeat(i % 300)))
        const result = yield* archive.commit([big, ...many, half])
        expect(result.applied).toBe(2_779)
        expect(result.rootAfter).toBe(MerkleTree.from([big, half, ...many]).root)
        const next = [big, half].map((record) =>
          put(record.id, 2, undefined, { content: record.content.slice(1) })
        )
        yield* archive.commit([...next, ...many.map((record) => put(record.id, 2, "w"))])
        const stored = yield* archive.getMany(["big.one", "big.half", "many.2776"])
        for (const record of next) {
          const found = stored.find(({ id }) => id === record.id)!
          expect(Buffer.compare(found.content, record.content)).toBe(0)
        }
        expect(yield* archive.count({ prefix: "many" })).toBe(2_777)
        expect((yield* recompute(archive)).root).toBe(yield* archive.root)
        const page = yield* archive.scan({ prefix: "big" }, { limit: 10, maxBytes: 1_000 })
        expect(ids(page)).toEqual(["big.half"])
      }))

    test("commits at once from many fibers without losing any", (archive) =>
      Effect.gen(function* () {
        const random = numbers(5)
        const batches = Array.from({ length: 24 }, (_, n) =>
          Array.from(new Set(Array.from({ length: 30 }, () => `c.${random(3)}.${random(40)}`)), (id) =>
            put(id, 1 + random(30), `${n}`)
          )
        )
        yield* Effect.forEach(batches, (batch) => archive.commit(batch), { concurrency: 6, discard: true })
        const written = new Map<string, Array<ItemRecord>>()
        for (const record of batches.flat()) {
          written.set(record.id, [...(written.get(record.id) ?? []), record])
        }
        const stored = yield* archive.getMany([...written.keys()])
        expect(ids(stored).sort()).toEqual([...written.keys()].sort())
        for (const record of stored) {
          const all = written.get(record.id)!
          expect(all).toContainEqual(record)
          expect(record.version).toBe(Math.max(...all.map(({ version }) => version)))
        }
        expect(yield* archive.root).toBe(MerkleTree.from(stored).root)
        expect((yield* recompute(archive)).root).toBe(yield* archive.root)
      }))
  })
}
