/**
 * Rows of the archive's tables that somebody has changed by hand, and what an engine makes of them, on either database:
 * nothing crashes or hangs, what is served is what was written or verification names it, and no sound neighbour suffers.
 */
import { Cause, Chunk, Effect, Exit, Logger, LogLevel, Option, type Scope, Stream } from "effect"
import { expect } from "vitest"
import type { OpenArchive } from "../../src/archive/Archive.js"
import { itemColumns } from "../../src/archive/sql/SqlDialect.js"
import type { Engine } from "../../src/SyncEngine.js"
import { type SyncItem, tombstone } from "../../src/SyncItem.js"
import { put } from "./records.js"

type Dialect = "sqlite" | "mysql"

export interface RowDamage {
  readonly name: string
  /** The engine does not start over it. */
  readonly refused?: string
  /** Nothing tells it from what a write may have brought, or it tells nobody anything wrong. */
  readonly unseen?: true
  /** It is all rows that were changed. */
  readonly all?: true
  /** Only whoever changed it can mend it: it is named. */
  readonly lasting?: true
  /** No number is left for sums or counts: writes are refused until the tree has been repaired. */
  readonly blocks?: true
  readonly sql: (dialect: Dialect) => ReadonlyArray<string>
}

const victim = "geo.1.4"
const ids = Array.from({ length: 12 }, (_, n) => `geo.${n % 3}.${n}`)
const records = [
  ...ids.map((id, n) => put(id, 100 + n, `content of ${id}`, n % 2 === 0 ? { state: "open" } : {})),
  tombstone("geo.1.gone", 50, 60)
]

/** Bytes as a text, where the column is one. */
const text = (hex: string) => (dialect: Dialect) =>
  dialect === "sqlite" ? `CAST(X'${hex}' AS TEXT)` : `X'${hex}'`
type Unnamed = Omit<RowDamage, "name">
const column = (set: string | ((dialect: Dialect) => string)): Unnamed => ({
  sql: (dialect) => [
    `UPDATE items SET ${typeof set === "string" ? set : set(dialect)} WHERE id = '${victim}'`
  ]
})
const unseen = (damage: Unnamed): Unnamed => ({ ...damage, unseen: true })
const statements = (...sql: ReadonlyArray<string>): Unnamed => ({ sql: () => sql })
const another = (id: (dialect: Dialect) => string): Unnamed => ({
  sql: (dialect) => [
    `INSERT INTO items (${itemColumns.join()}) SELECT ${id(dialect)}, version, updated_at, content_type, content_hash, state, deleted, tombstone_at,
       traceparent, content FROM items WHERE id = '${victim}'`
  ]
})
const writer = (values: (dialect: Dialect) => string): Unnamed => ({
  sql: (dialect) => [`INSERT INTO writers (node, token, beat, lease_ms) VALUES (${values(dialect)})`]
})

const versions = ["0", "-5", "9007199254740993", "9223372036854775807", "-9223372036854775808"]

const named: Readonly<Record<string, Unnamed>> = {
  "another content": column("content = X'78'"),
  "no content": column("content = X''"),
  "a huge content": {
    sql: (dialect) => [
      dialect === "sqlite"
        ? `UPDATE items SET content = zeroblob(12000000) WHERE id = '${victim}'`
        : `UPDATE items SET content = REPEAT('x', 12000000) WHERE id = '${victim}'`
    ]
  },
  "another hash": column("content_hash = X'00'"),
  "a time before all times": column("updated_at = -9223372036854775808"),
  "a type that is none": column("content_type = 'xml'"),
  "no type": column("content_type = ''"),
  "an empty state": column("state = ''"),
  "a state of control characters": column((dialect) => `state = ${text("0107")(dialect)}`),
  "a state that is no text": unseen(column((dialect) => `state = ${text("ff")(dialect)}`)),
  "another state": unseen(column("state = 'done'")),
  "a traceparent that is none": column("traceparent = 'none'"),
  "deleted twice": column("deleted = 2"),
  "deleted by hand": column("deleted = 1"),
  "a time of deletion": unseen(column("tombstone_at = 5")),
  ...Object.fromEntries(versions.map((version) => [`version ${version}`, column(`version = ${version}`)])),
  "a tombstone brought back": statements("UPDATE items SET deleted = 0 WHERE id = 'geo.1.gone'"),
  "a row that is gone": statements(`DELETE FROM items WHERE id = '${victim}'`),
  "no rows": { ...statements("DELETE FROM items"), all: true },
  "a row more": another(() => "'geo.1.more'"),
  "an id that is no text": { ...another(text("67656f2eff")), lasting: true },
  "an id without a name": another(() => "''"),
  "an id with a NUL": another(text("67656f2e00")),
  "an id with an empty segment": another(() => "'geo..x'"),
  "a node that is gone": statements("DELETE FROM tree WHERE path = 'geo.1'"),
  "no root": statements("DELETE FROM tree WHERE path = ''"),
  "no tree": statements("DELETE FROM tree"),
  "a node with another sum": statements("UPDATE tree SET s0 = s0 + 1 WHERE path = 'geo.1'"),
  "a root with another sum": {
    ...statements("UPDATE tree SET s7 = 9223372036854775807 WHERE path = ''"),
    blocks: true
  },
  "a root that counts below nothing": statements("UPDATE tree SET count = -1 WHERE path = ''"),
  "a root that counts too many": {
    ...statements("UPDATE tree SET count = 9223372036854775807 WHERE path = ''"),
    blocks: true
  },
  "a node that counts below nothing": statements("UPDATE tree SET count = -3 WHERE path = 'geo.1'"),
  "a node without a parent": statements("UPDATE tree SET parent = NULL WHERE path = 'geo.1'"),
  "a node that is its own parent": statements("UPDATE tree SET parent = path WHERE path = 'geo.1'"),
  "a node that nobody asked for": {
    sql: (dialect) => [
      `INSERT INTO tree SELECT ${text("67656f2eff")(dialect)}, parent, count, s0, s1, s2, s3, s4, s5, s6, s7, top_version
         FROM tree WHERE path = 'geo.1'`
    ]
  },
  "the highest version beyond all numbers": unseen(
    statements("UPDATE tree SET top_version = 9223372036854775807 WHERE path = ''")
  ),
  "the highest version below nothing": unseen(statements("UPDATE tree SET top_version = -1 WHERE path = ''")),
  "a writer that is no text": unseen(writer((dialect) => `${text("ff00")(dialect)}, NULL, 'b', 15000`)),
  "a writer with a lease below nothing": unseen(writer(() => "'w', 't', 'b', -1")),
  "no lineage": unseen(statements("DELETE FROM lineage")),
  "a lineage that is no text": {
    unseen: true,
    sql: (dialect) => [`UPDATE lineage SET name = ${text("ff")(dialect)}`]
  },
  "a migration from the future": {
    ...statements("INSERT INTO archive_migrations (migration_id, name) VALUES (99, 'from the future')"),
    refused: "ArchiveStartError"
  },
  "no migrations": unseen(statements("DELETE FROM archive_migrations"))
}

export const rowDamages: ReadonlyArray<RowDamage> = Object.entries(named).map(([name, damage]) => ({
  name,
  ...damage
}))

export interface Place {
  readonly dialect: Dialect
  /** Runs a statement past the engine. */
  readonly run: (sql: string) => Effect.Effect<unknown, unknown>
  /** Opens the archive; makes its tables. */
  readonly archive: Effect.Effect<OpenArchive, unknown, Scope.Scope>
  /** Starts an engine with a new log. */
  readonly engine: Effect.Effect<Engine, unknown, Scope.Scope>
}

const said = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "done"
  const failure = Cause.failureOption(exit.cause)
  if (Option.isNone(failure)) return `CRASHED: ${Cause.pretty(exit.cause)}`
  return (failure.value as { readonly _tag?: string })._tag ?? `UNTYPED: ${String(failure.value)}`
}

const shown = ({ contentHash, contentType, id, state, traceparent, updatedAt, version, ...item }: SyncItem) =>
  JSON.stringify([
    id,
    [version, updatedAt, contentType, contentHash, state, traceparent],
    Buffer.from(item.content).toString("hex")
  ])

const originals = new Map(records.map((record) => [record.id, shown(record)]))
const isOriginal = (item: SyncItem) => originals.get(item.id) === shown(item)

type Found = Effect.Effect.Success<ReturnType<Engine["service"]["verify"]>>
const namedBy = (found: Found | undefined) =>
  found === undefined || found.differences.length + found.unchecked.length > 0

/** Does everything that an engine can be asked for. */
const use = ({ service }: Engine) =>
  Effect.gen(function* () {
    const outcomes: Record<string, string> = {}
    const step = <A, E>(name: string, effect: Effect.Effect<A, E>) =>
      effect.pipe(
        Effect.timeoutFail({ duration: "50 seconds", onTimeout: () => ({ _tag: "HUNG" }) }),
        Effect.exit,
        Effect.map((exit) => {
          outcomes[name] = said(exit)
          return Exit.isSuccess(exit) ? exit.value : undefined
        })
      )
    const changed: Array<string> = []
    for (const id of ids) {
      const found = yield* step(`get ${id}`, service.get(id))
      // Unavailable says so itself.
      if (found !== undefined && !Option.exists(found, isOriginal)) changed.push(id)
    }
    const page = yield* step(
      "scan",
      Effect.map(Stream.runCollect(service.scanPrefix("")), Chunk.toReadonlyArray)
    )
    if (page !== undefined && (page.length !== ids.length || !page.every(isOriginal))) changed.push("scan")
    let after: string | undefined
    for (let pages = 0; ; pages++) {
      expect(pages).toBeLessThan(20)
      const some: ReadonlyArray<SyncItem> | undefined = yield* step(
        "page",
        service.scanPage("geo", { after, limit: 3 })
      )
      after = some?.at(-1)?.id
      if (after === undefined) break
    }
    yield* step("by state", Stream.runDrain(service.getByState("open")))
    yield* step("ids by state", service.listStateIds("open"))
    yield* step("count", service.countPrefix("geo"))
    yield* step("count by state", service.countByState("open"))
    yield* step("verified", service.getVerified(victim))
    yield* step("status", service.status(victim))
    yield* step("root", service.merkleRoot)
    yield* step("children", service.merkleChildren("geo.1"))
    const found = yield* step("verify", service.verify({ rows: true, contents: true }))
    const write = (id: string) =>
      step(`write ${id}`, service.submit({ id, content: "new" }, { durability: "archive" }))
    for (const id of ["geo.1.1", victim, "geo.1.new"]) yield* write(id)
    const repaired = yield* step("repair", service.repair())
    const again = yield* step("verify again", service.verify({ rows: true, contents: true }))
    const isMended =
      repaired !== undefined &&
      again !== undefined &&
      (again.inSync || namedBy(again) || repaired.problems.length > 0)
    return { outcomes, changed, isNamed: namedBy(found), isMended }
  })

/** Damages the archive, starts an engine and uses it. */
export const tryDamage = (place: Place, damage: RowDamage) =>
  Effect.gen(function* () {
    yield* Effect.scoped(Effect.flatMap(place.archive, (archive) => archive.commit(records)))
    for (const sql of damage.sql(place.dialect)) yield* place.run(sql)
    // Where the archive can be opened: the tombstone goes, and no live item.
    const purged = Effect.flatMap(place.archive, (archive) => archive.purgeTombstones(1000, 100))
    expect(yield* Effect.scoped(Effect.orElseSucceed(purged, () => 0))).toBeLessThan(2)
    const started = yield* Effect.exit(place.engine)
    if (Exit.isFailure(started)) {
      expect(said(started)).toBe(damage.refused)
      return
    }
    expect(damage.refused).toBe(undefined)
    const engine = started.value
    const { changed, isMended, isNamed, outcomes } = yield* use(engine)
    const unwell = Object.entries(outcomes).filter(([, outcome]) => outcome !== "done")
    expect(Object.values(outcomes).join()).not.toMatch(/CRASHED|HUNG|UNTYPED/)
    if (damage.unseen !== true) expect({ isNamed, changed, unwell }).toMatchObject({ isNamed: true })
    if (damage.all !== true) expect(changed.filter((id) => id !== victim && id !== "scan")).toEqual([])
    if (damage.blocks !== true)
      expect([outcomes["write geo.1.1"], outcomes["write geo.1.new"]]).toEqual(["done", "done"])
    if (damage.blocks !== true && damage.lasting !== true) {
      expect({ isMended, unwell }).toMatchObject({ isMended: true })
    }
    expect(yield* engine.shutdown).toMatchObject({ finalCheckpoint: true })
  }).pipe(Effect.scoped, Logger.withMinimumLogLevel(LogLevel.None))
