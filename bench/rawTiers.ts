/**
 * The loops the engine's tiers are compared with, over the bare drivers and without trees.
 */
import { join } from "node:path"
import Database from "better-sqlite3"
import { Effect } from "effect"
import { Redis } from "ioredis"
import { createConnection, type RowDataPacket } from "mysql2/promise"
import { contentHashOf } from "../src/index.js"

export interface RawItem {
  readonly id: string
  readonly content: Uint8Array
}

/** Milliseconds that the steps of the tuned loop have taken. */
export interface RawSpent {
  log: number
  sql: number
  redis: number
  release: number
}

export interface RawTiers {
  /** Log, then MariaDB and Redis at once, then the log's deletion: one batch after the other. */
  readonly tuned: (batches: ReadonlyArray<ReadonlyArray<RawItem>>) => Promise<void>
  /** As `tuned`, and the next batch is written to the log while the servers work on this one. */
  readonly overlapped: (batches: ReadonlyArray<ReadonlyArray<RawItem>>) => Promise<void>
  /** One upsert and one SET per item, each waited for; no log. */
  readonly naive: (items: ReadonlyArray<RawItem>) => Promise<void>
  readonly count: () => Promise<number>
  readonly spent: RawSpent
}

// The columns and keys of the engine's own table.
const table = `CREATE TABLE items (
  id VARBINARY(255) NOT NULL PRIMARY KEY, version BIGINT NOT NULL, updated_at BIGINT NOT NULL,
  content_type VARCHAR(6) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, content_hash BINARY(32) NOT NULL,
  state VARBINARY(64), deleted TINYINT NOT NULL, tombstone_at BIGINT,
  traceparent VARCHAR(55) CHARACTER SET ascii COLLATE ascii_bin, content LONGBLOB NOT NULL,
  KEY by_state (state, id), KEY tombstones (tombstone_at, id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC`

const columns =
  "id,version,updated_at,content_type,content_hash,state,deleted,tombstone_at,traceparent,content"
const isNewer =
  "VALUES(version) > version OR (VALUES(version) = version AND VALUES(content_hash) > content_hash)"
const update = [
  "updated_at",
  "content_type",
  "state",
  "deleted",
  "tombstone_at",
  "traceparent",
  "content",
  "content_hash",
  "version"
]
  .map((column) => `${column} = IF(${isNewer}, VALUES(${column}), ${column})`)
  .join()

// One string an item, as the engine's: a line and the content, guarded by the version that it begins with.
const guardedPut = `
local set = {}
for i = 1, #KEYS do
  local held = string.match(redis.call('GETRANGE', KEYS[i], 0, 15), '^%d+')
  if not held or tonumber(held) < tonumber(string.match(ARGV[i], '^%d+')) then
    set[#set + 1] = KEYS[i]
    set[#set + 1] = ARGV[i]
  end
end
if #set > 0 then redis.call('MSET', unpack(set)) end
return #KEYS`
const itemsPerScript = 200

interface Logged extends RawItem {
  readonly version: number
  readonly hash: string
  readonly updatedAt: number
}

const rowOf = (item: Logged): string => {
  const content = Buffer.from(item.content.buffer, item.content.byteOffset, item.content.byteLength)
  return (
    `(X'${Buffer.from(item.id).toString("hex")}',${item.version},${item.updatedAt},'json',X'${item.hash}',NULL,0,NULL,NULL,` +
    `X'${content.toString("hex")}')`
  )
}

const valueOf = (item: Logged): Buffer =>
  Buffer.concat([Buffer.from(`${item.version} ${item.updatedAt} j ${item.hash} - `), item.content])

export const rawTiers = (options: {
  readonly directory: string
  readonly name: string
  readonly mysqlUrl: string
  readonly redisUrl: string
}) =>
  Effect.acquireRelease(
    Effect.tryPromise(async () => {
      const log = new Database(join(options.directory, `${options.name}.db`))
      log.pragma("journal_mode = WAL")
      log.pragma("synchronous = FULL")
      log.exec(
        "CREATE TABLE log (sequence INTEGER PRIMARY KEY, id TEXT, version INTEGER, updated_at INTEGER, type INTEGER, hash BLOB, content BLOB)"
      )
      // Otherwise the driver searches every statement for placeholders, character by character.
      const sql = await createConnection({ uri: options.mysqlUrl, queryFormat: (text: string) => text })
      await sql.query(table)
      const redis = new Redis(options.redisUrl)
      const put = await redis.script("LOAD", guardedPut)
      return { log, sql, redis, put: String(put) }
    }),
    ({ log, redis, sql }) =>
      Effect.promise(async () => {
        log.close()
        redis.disconnect()
        await sql.end()
      })
  ).pipe(
    Effect.map(({ log, put, redis, sql }): RawTiers => {
      const insert = log.prepare(
        "INSERT INTO log (id, version, updated_at, type, hash, content) VALUES (?, ?, ?, 0, ?, ?)"
      )
      const remove = log.prepare("DELETE FROM log WHERE sequence <= ?")
      const keyOf = (id: string) => `${options.name}:item:${id}`
      const spent: RawSpent = { log: 0, sql: 0, redis: 0, release: 0 }
      let version = 0

      const toLog = (items: ReadonlyArray<RawItem>) => {
        const startedMs = performance.now()
        const updatedAt = Date.now()
        const logged: Array<Logged> = []
        let last: number | bigint = 0
        log.exec("BEGIN")
        for (const { content, id } of items) {
          const item = { id, content, version: ++version, updatedAt, hash: contentHashOf(content) }
          last = insert.run(
            id,
            item.version,
            updatedAt,
            Buffer.from(item.hash, "hex"),
            content
          ).lastInsertRowid
          logged.push(item)
        }
        log.exec("COMMIT")
        spent.log += performance.now() - startedMs
        return { logged, last }
      }

      const toSql = async (items: ReadonlyArray<Logged>) => {
        const startedMs = performance.now()
        await sql.query(
          `INSERT INTO items(${columns}) VALUES ${items.map(rowOf).join()} ON DUPLICATE KEY UPDATE ${update}`
        )
        spent.sql += performance.now() - startedMs
      }

      const toRedis = async (items: ReadonlyArray<Logged>) => {
        const startedMs = performance.now()
        const pipeline = redis.pipeline()
        for (let from = 0; from < items.length; from += itemsPerScript) {
          const some = items.slice(from, from + itemsPerScript)
          const values = some.map(valueOf)
          pipeline.evalsha(put, some.length, ...some.map(({ id }) => keyOf(id)), ...values)
        }
        for (const [error] of (await pipeline.exec())!) if (error !== null) throw error
        spent.redis += performance.now() - startedMs
      }

      const release = (last: number | bigint) => {
        const startedMs = performance.now()
        remove.run(last)
        spent.release += performance.now() - startedMs
      }

      return {
        tuned: async (batches) => {
          for (const batch of batches) {
            const { last, logged } = toLog(batch)
            await Promise.all([toSql(logged), toRedis(logged)])
            release(last)
          }
        },
        overlapped: async (batches) => {
          let next = batches[0] === undefined ? undefined : toLog(batches[0])
          for (let at = 1; next !== undefined; at++) {
            const { last, logged } = next
            const written = Promise.all([toSql(logged), toRedis(logged)])
            const batch = batches[at]
            next = batch === undefined ? undefined : toLog(batch)
            await written
            release(last)
          }
        },
        naive: async (items) => {
          for (const { content, id } of items) {
            const hash = contentHashOf(content)
            const item = { id, content, version: ++version, updatedAt: Date.now(), hash }
            await sql.query(
              `INSERT INTO items(${columns}) VALUES ${rowOf(item)} ON DUPLICATE KEY UPDATE ${update}`
            )
            await redis.set(keyOf(id), valueOf(item))
          }
        },
        count: async () => {
          const [rows] = await sql.query<Array<RowDataPacket>>("SELECT COUNT(*) AS count FROM items")
          return Number(rows[0]!.count)
        },
        spent
      }
    })
  )
