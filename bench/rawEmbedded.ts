/**
 * The loop the embedded engine is compared with: better-sqlite3 alone, prepared statements, a log and an archive of the
 * same columns, one synced transaction each a batch, without a tree.
 */
import { copyFileSync } from "node:fs"
import { join } from "node:path"
import Database from "better-sqlite3"
import { Effect } from "effect"
import { Checkpoints } from "../src/archive/sqlite/Checkpoints.js"
import type { SqliteOperations, SqliteWorkerData } from "../src/archive/sqlite/SqliteProtocol.js"
import { foldInBy } from "../src/archive/sqlite/SqliteWorkerClient.js"
import { contentHashOf } from "../src/index.js"
import { WorkerChannel } from "../src/shared/WorkerChannel.js"
import type { RawItem } from "./rawTiers.js"

const itemColumns =
  "id, version, updated_at, content_type, content_hash, state, deleted, tombstone_at, traceparent, content"
const updated = itemColumns
  .split(", ")
  .slice(1)
  .map((column) => `${column} = excluded.${column}`)
  .join()

const opened = (file: string, cacheKiB: number) => {
  const database = new Database(file)
  database.pragma("journal_mode = WAL")
  database.pragma("synchronous = FULL")
  database.pragma(`cache_size = -${cacheKiB}`)
  return database
}

/** Over a copy of this archive's file, so that it begins with the same rows on the same pages. */
export const rawEmbedded = (directory: string, archiveFile: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const file = join(directory, "raw-archive.db")
      copyFileSync(archiveFile, file)
      const log = opened(join(directory, "raw-log.db"), 8_192)
      log.exec(
        "CREATE TABLE log (sequence INTEGER PRIMARY KEY, id TEXT, version INTEGER, updated_at INTEGER, type INTEGER, hash BLOB, content BLOB)"
      )
      const archive = opened(file, 65_536)
      // The engine's own checkpoints: beside the commits, in a thread, and with its bound.
      archive.pragma("wal_autocheckpoint = 0")
      const data: SqliteWorkerData = { path: file, role: "reader", busyTimeoutMs: 5_000 }
      const thread = new WorkerChannel<SqliteOperations>("archive/sqlite/SqliteWorker", data, () => {})
      return { log, archive, thread }
    }),
    ({ archive, log, thread }) =>
      Effect.zipRight(
        thread.close,
        Effect.sync(() => {
          log.close()
          archive.close()
        })
      )
  ).pipe(
    Effect.map(({ archive, log, thread }) => {
      const checkpoints = new Checkpoints(foldInBy(thread, ({ message }) => message))
      const append = log.prepare(
        "INSERT INTO log (id, version, updated_at, type, hash, content) VALUES (?, ?, ?, 0, ?, ?)"
      )
      const remove = log.prepare("DELETE FROM log WHERE sequence <= ?")
      const upsert = archive.prepare(
        `INSERT INTO items(${itemColumns}) VALUES (?, ?, ?, 'json', ?, NULL, 0, NULL, NULL, ?) ` +
          `ON CONFLICT(id) DO UPDATE SET ${updated} WHERE excluded.version > version ` +
          "OR (excluded.version = version AND excluded.content_hash > content_hash)"
      )
      const spent = { log: 0, archive: 0, release: 0 }
      let version = Date.now() * 1000
      const write = (items: ReadonlyArray<RawItem>) => {
        const startedMs = performance.now()
        const updatedAt = Date.now()
        const first = version + 1
        const hashes: Array<Buffer> = []
        let last: number | bigint = 0
        log.exec("BEGIN")
        for (const { content, id } of items) {
          const hash = Buffer.from(contentHashOf(content), "hex")
          hashes.push(hash)
          last = append.run(id, ++version, updatedAt, hash, content).lastInsertRowid
        }
        log.exec("COMMIT")
        const loggedMs = performance.now()
        archive.exec("BEGIN IMMEDIATE")
        for (let i = 0; i < items.length; i++) {
          const { content, id } = items[i]!
          upsert.run(id, first + i, updatedAt, hashes[i], content)
        }
        archive.exec("COMMIT")
        const archivedMs = performance.now()
        const [wal] = archive.pragma("wal_checkpoint(NOOP)") as [{ log: number; checkpointed: number }]
        checkpoints.note({ pages: wal.log, folded: wal.checkpointed })
        remove.run(last)
        spent.log += loggedMs - startedMs
        spent.archive += archivedMs - loggedMs
        spent.release += performance.now() - archivedMs
      }
      return {
        write: (batches: ReadonlyArray<ReadonlyArray<RawItem>>) =>
          Effect.forEach(batches, (batch) => Effect.map(checkpoints.room, () => write(batch)), {
            discard: true
          }),
        count: () => archive.prepare("SELECT COUNT(*) FROM items").pluck().get() as number,
        spent
      }
    })
  )
