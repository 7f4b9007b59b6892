/**
 * The archive's tables and how they come to be. Every migration is one idempotent statement: MySQL commits
 * each by itself, so a migration that fails half-way stays recorded; the schema is therefore verified by
 * reading from it, and all statements run again when it is not as it should be.
 *
 * @since 0.1.0
 */
import { randomUUID } from "node:crypto"
import * as Migrator from "@effect/sql/Migrator"
import * as SqlClient from "@effect/sql/SqlClient"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import {
  type Dialect,
  itemColumns,
  limbColumns,
  type Tables,
  treeColumns,
  writerColumns
} from "./SqlDialect.js"
import { transaction } from "./SqlTransaction.js"

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
  "0003_items_json": `CREATE OR REPLACE VIEW ${itemsJson} AS
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

const migrate = Migrator.make({})

/**
 * Brings the tables up to date and verifies them, on one connection. Nodes that start at the same time have to
 * be kept apart by `alone`, which runs on that connection, unless opening a transaction does that (as on SQLite).
 *
 * @since 0.1.0
 * @category migrations
 */
export const migrateAndVerify = (
  sql: SqlClient.SqlClient,
  dialect: Dialect,
  tables: Tables,
  alone: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, unknown, R> = (effect) => effect
) => {
  const statements = dialect.name === "sqlite" ? sqlite(tables) : mysql(tables)
  const steps = Object.fromEntries(
    Object.entries(statements).map(([name, statement]) => [
      name,
      Effect.asVoid(sql.unsafe(statement).unprepared)
    ])
  )
  const migrations = migrate({ loader: Migrator.fromRecord(steps), table: tables.migrations }).pipe(
    Effect.provideService(SqlClient.SqlClient, sql)
  )
  const verify = Effect.all(
    [
      sql.unsafe(`SELECT ${itemColumns.join()} FROM ${tables.items} LIMIT 0`),
      sql.unsafe(`SELECT ${treeColumns.join()} FROM ${tables.tree} LIMIT 0`),
      sql.unsafe(`SELECT id, version, updated_at, state, content FROM ${tables.itemsJson} LIMIT 0`),
      sql.unsafe(`SELECT ${writerColumns.join()} FROM ${tables.writers} LIMIT 0`),
      Effect.filterOrFail(
        sql.unsafe(`SELECT name FROM ${tables.lineage} WHERE id = 1`),
        (rows) => rows.length === 1,
        () => "the archive has no lineage"
      )
    ],
    { discard: true }
  )
  // A failing migration is a defect, and on MySQL its true reason is lost with the savepoint; the statements
  // themselves say it.
  const again = Effect.zipRight(Effect.all(Object.values(steps), { discard: true }), verify)
  return transaction(sql, dialect.begin, () =>
    alone(
      Effect.catchAllCause(Effect.zipRight(migrations, verify), (cause) =>
        Cause.isInterruptedOnly(cause) ? Effect.interrupt : again
      )
    )
  )
}
