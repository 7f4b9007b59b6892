/**
 * The name of the log, under which others know who writes through it. Runs in the log's worker thread; synchronous.
 */
import { randomUUID } from "node:crypto"
import { statSync } from "node:fs"
import type Database from "better-sqlite3"
import { hasRoom } from "./OpenRefused.js"

const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/**
 * The name stored in the file, or a new one, durable before it is returned. The inode is stored with it: a copied
 * file has another one and becomes a log of its own, because two logs under one name would pass for one writer. A
 * new name is always safe: to others the old one is a node that has gone.
 */
export const identityOf = (db: Database.Database, path: string): string => {
  const place = String(statSync(path, { bigint: true }).ino)
  const stored = db.prepare("SELECT name, place FROM identity WHERE id = 1").get() as
    | { readonly name: unknown; readonly place: unknown }
    | undefined
  if (stored?.place === place && typeof stored.name === "string" && uuidPattern.test(stored.name)) {
    return stored.name
  }
  const name = randomUUID()
  // Where there is no room the next start makes another one.
  hasRoom(() => {
    db.prepare("INSERT OR REPLACE INTO identity (id, name, place) VALUES (1, ?, ?)").run(name, place)
    // As after the proof: nothing stands in the -wal file that a later start would have to judge.
    db.pragma("wal_checkpoint(TRUNCATE)")
  })
  return name
}
