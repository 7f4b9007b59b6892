/** Which archive the log belongs to. Runs in the log's worker thread; synchronous. */
import type Database from "better-sqlite3"
import type { ArchiveBinding } from "./WriteAheadLog.js"

/** What is stored, if anything; logs of the first edition have no place for it yet. */
export const bindingOf = (db: Database.Database): ArchiveBinding | undefined => {
  const made = db.prepare("SELECT count(*) FROM sqlite_schema WHERE name = 'binding'").pluck().get()
  if (made === 0) return undefined
  const row = db.prepare("SELECT lineage, archived, carried_to FROM binding WHERE id = 1").get() as
    | { readonly lineage: string; readonly archived: number; readonly carried_to: number }
    | undefined
  if (row === undefined) return undefined
  const bound = { lineage: row.lineage, archived: row.archived === 1 }
  return row.carried_to === 0 ? bound : { ...bound, carriedTo: row.carried_to }
}

/** Stores it, inside a transaction of the caller's. */
export const storeBinding = (
  db: Database.Database,
  { archived, carriedTo, lineage }: ArchiveBinding
): void => {
  db.exec(
    "CREATE TABLE IF NOT EXISTS binding (id INTEGER PRIMARY KEY CHECK (id = 1), lineage TEXT NOT NULL, archived INTEGER NOT NULL, carried_to INTEGER NOT NULL)"
  )
  db.prepare("INSERT OR REPLACE INTO binding (id, lineage, archived, carried_to) VALUES (1, ?, ?, ?)").run(
    lineage,
    archived ? 1 : 0,
    carriedTo ?? 0
  )
}
