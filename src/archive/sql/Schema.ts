/**
 * The archive's tables and how they come to be. The schema is verified by reading from it; when it is as it should
 * be nothing is defined, so that a user who may only read and write is enough, and no other node has to wait for
 * a table. Every migration is one idempotent statement, because MySQL commits each by itself; they are recorded
 * first, and all run again when the record says one thing and the tables another.
 */
import { randomUUID } from "node:crypto"
import { SqlError } from "@effect/sql/SqlError"
import { Effect, Schedule } from "effect"
import { classify } from "../ArchiveErrors.js"
import {
  type Dialect,
  expectedColumns,
  itemColumns,
  limbColumns,
  type Tables,
  treeColumns,
  writerColumns
} from "./SqlDialect.js"
import type { Run } from "./SqlSession.js"

const sqlite = ({ items, itemsJson, lineage, tree, writers }: Tables): Record<string, string> => ({
  "0001_items": `CREATE TABLE IF NOT EXISTS ${items} (
    id TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    content_hash BLOB NOT NULL,
    state TEXT,
    deleted INTEGER NOT NULL,
    tombstone_at INTEGER,
    traceparent TEXT,
    content BLOB NOT NULL
  ) STRICT`,
  "0002_items_by_state": `CREATE INDEX IF NOT EXISTS ${items}_by_state ON ${items}(state, id) WHERE state IS NOT NULL`,
  "0003_items_tombstones": `CREATE INDEX IF NOT EXISTS ${items}_tombstones ON ${items}(tombstone_at, id)
    WHERE tombstone_at IS NOT NULL`,
  "0004_tree": `CREATE TABLE IF NOT EXISTS ${tree} (
    path TEXT NOT NULL PRIMARY KEY,
    parent TEXT,
    count INTEGER NOT NULL,
    ${limbColumns.map((column) => `${column} INTEGER NOT NULL`).join()},
    top_version INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID`,
  "0005_tree_by_parent": `CREATE INDEX IF NOT EXISTS ${tree}_by_parent ON ${tree}(parent, path)`,
  "0006_items_json": `CREATE VIEW IF NOT EXISTS ${itemsJson} AS
    SELECT id, version, updated_at, state, CAST(content AS TEXT) AS content
    FROM ${items} WHERE deleted = 0 AND content_type = 'json'`,
  "0007_writers": `CREATE TABLE IF NOT EXISTS ${writers} (
    node TEXT NOT NULL PRIMARY KEY,
    token TEXT,
    beat TEXT NOT NULL,
    lease_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID`,
  "0008_lineage": `CREATE TABLE IF NOT EXISTS ${lineage} (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    name TEXT NOT NULL
  ) STRICT`,
  "0009_lineage_name": `INSERT OR IGNORE INTO ${lineage} (id, name) VALUES (1, '${randomUUID()}')`
})

const mysql = ({ items, itemsJson, lineage, tree, writers }: Tables): Record<string, string> => ({
  "0001_items": `CREATE TABLE IF NOT EXISTS ${items} (
    id VARBINARY(255) NOT NULL,
    version BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    content_type VARCHAR(6) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    content_hash BINARY(32) NOT NULL,
    state VARBINARY(64),
    deleted TINYINT NOT NULL,
    tombstone_at BIGINT,
    traceparent VARCHAR(55) CHARACTER SET ascii COLLATE ascii_bin,
    content LONGBLOB NOT NULL,
    expected_version BIGINT,
    expected_updated_at BIGINT,
    expected_deleted TINYINT,
    expected_hash BINARY(32),
    PRIMARY KEY (id),
    KEY by_state (state, id),
    KEY tombstones (tombstone_at, id)
  ) ENGINE=InnoDB ROW_FORMAT=DYNAMIC`,
  "0002_tree": `CREATE TABLE IF NOT EXISTS ${tree} (
    path VARBINARY(255) NOT NULL,
    parent VARBINARY(255),
    count BIGINT NOT NULL,
    ${limbColumns.map((column) => `${column} BIGINT NOT NULL`).join()},
    top_version BIGINT NOT NULL,
    PRIMARY KEY (path),
    KEY by_parent (parent, path)
  ) ENGINE=InnoDB ROW_FORMAT=DYNAMIC`,
  "0003_items_json": `CREATE OR REPLACE SQL SECURITY INVOKER VIEW ${itemsJson} AS
    SELECT CONVERT(id USING utf8mb4) AS id, version, updated_at, CONVERT(state USING utf8mb4) AS state,
      CONVERT(content USING utf8mb4) AS content
    FROM ${items} WHERE deleted = 0 AND content_type = 'json'`,
  "0004_writers": `CREATE TABLE IF NOT EXISTS ${writers} (
    node VARBINARY(64) NOT NULL,
    token VARBINARY(64),
    beat VARBINARY(64) NOT NULL,
    lease_ms BIGINT NOT NULL,
    PRIMARY KEY (node)
  ) ENGINE=InnoDB ROW_FORMAT=DYNAMIC`,
  "0005_lineage": `CREATE TABLE IF NOT EXISTS ${lineage} (
    id TINYINT NOT NULL,
    name VARBINARY(64) NOT NULL,
    PRIMARY KEY (id)
  ) ENGINE=InnoDB ROW_FORMAT=DYNAMIC`,
  // Named here and not by the server, so that a replica has the same name, whatever it is sent.
  "0006_lineage_name": `INSERT IGNORE INTO ${lineage} (id, name) VALUES (1, '${randomUUID()}')`
})

const record = ({ migrations }: Tables): Record<Dialect["name"], string> => ({
  sqlite: `CREATE TABLE IF NOT EXISTS ${migrations} (
    migration_id integer PRIMARY KEY NOT NULL,
    created_at datetime NOT NULL DEFAULT current_timestamp,
    name VARCHAR(255) NOT NULL
  )`,
  mysql: `CREATE TABLE IF NOT EXISTS ${migrations} (
    migration_id INTEGER UNSIGNED NOT NULL,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    name VARCHAR(255) NOT NULL,
    PRIMARY KEY (migration_id)
  )`
})

interface Step {
  readonly id: number
  readonly name: string
  readonly text: string
}

/** What the tables are asked, and how they are made, where statements run. */
const schemaOf = (dialect: Dialect, tables: Tables, run: Run) => {
  const ask = (text: string) => run({ text, params: [] })
  const each = (texts: ReadonlyArray<string>) => Effect.forEach(texts, ask, { discard: true })
  const steps = Object.entries(dialect.name === "sqlite" ? sqlite(tables) : mysql(tables)).map(
    ([name, text]): Step => ({ id: Number.parseInt(name, 10), name: name.slice(5), text })
  )
  const items = dialect.name === "mysql" ? [...itemColumns, ...expectedColumns] : itemColumns
  const columns = each([
    `SELECT ${items.join()} FROM ${tables.items} LIMIT 0`,
    `SELECT ${treeColumns.join()} FROM ${tables.tree} LIMIT 0`,
    `SELECT id, version, updated_at, state, content FROM ${tables.itemsJson} LIMIT 0`,
    `SELECT ${writerColumns.join()} FROM ${tables.writers} LIMIT 0`
  ])
  const lineage = Effect.filterOrFail(
    ask(`SELECT name FROM ${tables.lineage} WHERE id = 1`),
    (rows) => rows.length === 1,
    () => new SqlError({ cause: new Error("the archive has no lineage"), message: "no lineage" })
  )
  const verify = Effect.zipRight(columns, lineage)
  /** The steps that are not recorded yet. */
  const due = Effect.flatMap(ask(`SELECT migration_id FROM ${tables.migrations}`), (rows) => {
    const done = new Set(rows.map((row) => Number(row.migration_id)))
    const newest = Math.max(0, ...done)
    if (newest <= steps.length) return Effect.succeed(steps.filter(({ id }) => !done.has(id)))
    const cause = new Error(`the tables are of a later version of the engine (migration ${newest})`)
    return new SqlError({ cause, message: cause.message })
  })
  const define = (some: ReadonlyArray<Step>) => each(some.map(({ text }) => text))
  return {
    verify,
    due,
    define,
    isRight: Effect.zipRight(
      verify,
      Effect.map(due, (some) => some.length === 0)
    ),
    makeRecord: ask(record(tables)[dialect.name]),
    defineAll: define(steps),
    /** Whether this node is the first to record these steps. */
    claim: (some: ReadonlyArray<Step>) =>
      some.length === 0
        ? Effect.succeed(false)
        : ask(
            `INSERT INTO ${tables.migrations}(migration_id, name) VALUES ${some.map(({ id, name }) => `(${id}, '${name}')`).join()}`
          ).pipe(
            Effect.as(true),
            Effect.catchIf(
              (error) => classify(error).contention,
              () => Effect.succeed(false)
            )
          )
  }
}

// Who is the first to record the steps runs them. On a cluster others may be at it on another server, where no lock of
// this one is seen, and definitions that meet there can block each other for ever.
const migrate = Effect.fnUntraced(function* (dialect: Dialect, tables: Tables, run: Run) {
  const schema = schemaOf(dialect, tables, run)
  // Another node may have done it while this one waited.
  if (yield* Effect.orElseSucceed(schema.isRight, () => false)) return
  yield* schema.makeRecord
  const mine = yield* schema.due
  if (yield* schema.claim(mine)) yield* schema.define(mine)
  else {
    const patience = Schedule.intersect(
      Schedule.spaced("100 millis"),
      Schedule.recurs(dialect.name === "mysql" ? 30 : 0)
    )
    yield* Effect.ignore(Effect.retry(schema.verify, patience))
  }
  yield* Effect.catchAll(schema.verify, () => Effect.zipRight(schema.defineAll, schema.verify))
})

/**
 * Verifies the tables, and brings them up to date where they are not. Nodes that migrate at the same time have to
 * be kept apart by `alone`, which says where the migration runs.
 */
export const migrateAndVerify = <E>(
  dialect: Dialect,
  tables: Tables,
  run: Run,
  alone: (migration: (run: Run) => Effect.Effect<void, SqlError>) => Effect.Effect<void, E>
): Effect.Effect<void, E | SqlError> =>
  schemaOf(dialect, tables, run).isRight.pipe(
    // What was not there to be asked cannot be migrated either.
    Effect.catchAll((error) => (classify(error).unreachable ? Effect.fail(error) : Effect.succeed(false))),
    Effect.flatMap((right) => (right ? Effect.void : alone((where) => migrate(dialect, tables, where))))
  )
