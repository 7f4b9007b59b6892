/**
 * The filter's snapshot inside the log's file: parts written one by one, so that commits get their turn between
 * them, and published together. Runs in the log's worker thread.
 */
import type Database from "better-sqlite3"

const partsPerPrune = 8

export class SnapshotTable {
  private published: { readonly generation: number; readonly parts: number } | undefined
  private readonly statements: ReturnType<typeof prepareStatements>

  constructor(
    db: Database.Database,
    private readonly transaction: <A>(body: () => A) => A
  ) {
    this.statements = prepareStatements(db)
    this.published = this.statements.head.get() as typeof this.published
  }

  /** Adds a part of the snapshot that will be published next. Part 0 replaces what an earlier attempt left. */
  writePart(part: number, data: Uint8Array): void {
    this.transaction(() => {
      if (part === 0) this.statements.deleteGeneration.run(this.next())
      this.statements.insertPart.run(this.next(), part, data)
    })
  }

  /** Makes the parts written the snapshot, in place of the one before. */
  publish(parts: number): void {
    const generation = this.next()
    this.transaction(() => this.statements.setHead.run(generation, parts))
    this.published = { generation, parts }
  }

  /** How many parts the snapshot has; 0 when there is none. */
  parts(): number {
    return this.published?.parts ?? 0
  }

  readPart(part: number): Uint8Array | undefined {
    return this.published === undefined
      ? undefined
      : (this.statements.part.get(this.published.generation, part) as Uint8Array | undefined)
  }

  /** Deletes some parts of other generations; whether there may be more. */
  prune(): boolean {
    const generation = this.published?.generation ?? 0
    return this.transaction(() => this.statements.deleteOthers.run(generation)).changes === partsPerPrune
  }

  /** Writes a part that belongs to no snapshot, and removes it: whether there is room for this many bytes. */
  probe(bytes: number): void {
    this.transaction(() => this.statements.insertPart.run(-1, 0, Buffer.alloc(bytes)))
    this.transaction(() => this.statements.deleteGeneration.run(-1))
  }

  private next(): number {
    return (this.published?.generation ?? 0) + 1
  }
}

const prepareStatements = (db: Database.Database) => ({
  head: db.prepare("SELECT generation, parts FROM filter_snapshot_head"),
  setHead: db.prepare(
    `INSERT INTO filter_snapshot_head (id, generation, parts) VALUES (1, ?, ?)
     ON CONFLICT (id) DO UPDATE SET generation = excluded.generation, parts = excluded.parts`
  ),
  insertPart: db.prepare("INSERT INTO filter_snapshot (generation, part, data) VALUES (?, ?, ?)"),
  part: db.prepare("SELECT data FROM filter_snapshot WHERE generation = ? AND part = ?").pluck(),
  deleteGeneration: db.prepare("DELETE FROM filter_snapshot WHERE generation = ?"),
  deleteOthers: db.prepare(`DELETE FROM filter_snapshot WHERE generation <> ? LIMIT ${partsPerPrune}`)
})
