/** The dead letters inside the log's file. Runs in the log's worker thread; synchronous. */
import type Database from "better-sqlite3"
import type { DeadLetterMessage, LettersMoved } from "./LogProtocol.js"
import { deadLetterChecksum } from "./LogSchema.js"

interface LetterRow extends DeadLetterMessage {
  readonly checksum: number
}

export class LetterTable {
  private readonly statements: ReturnType<typeof prepareStatements>

  constructor(
    db: Database.Database,
    private readonly transaction: <A>(body: () => A) => A
  ) {
    this.statements = prepareStatements(db)
  }

  add(letters: ReadonlyArray<DeadLetterMessage>): LettersMoved {
    return this.transaction(() => {
      const added = { items: 0, bytes: 0 }
      for (const { at, data, reason, sequence } of letters) {
        const checksum = deadLetterChecksum(sequence, reason, at, data)
        if (this.statements.insert.run(sequence, reason, at, checksum, data).changes === 0) continue
        added.items++
        added.bytes += data.length
      }
      return added
    })
  }

  list(after: number, limit: number, maxBytes: number): ReadonlyArray<DeadLetterMessage> {
    const page: Array<DeadLetterMessage> = []
    let bytes = 0
    for (const row of this.statements.page.iterate(after, limit) as IterableIterator<LetterRow>) {
      const { at, checksum, data, reason, sequence } = row
      bytes += data.length
      if (page.length > 0 && bytes > maxBytes) break
      if (checksum !== deadLetterChecksum(sequence, reason, at, data))
        throw new Error(`the dead letter with sequence ${sequence} is damaged`)
      page.push({ sequence, reason, at, data })
    }
    return page
  }

  remove(sequences: ReadonlyArray<number>): LettersMoved {
    return this.transaction(() => {
      const removed = { items: 0, bytes: 0 }
      for (const sequence of sequences) {
        for (const bytes of this.statements.delete.all(sequence) as ReadonlyArray<number>) {
          removed.items++
          removed.bytes += bytes
        }
      }
      return removed
    })
  }
}

const prepareStatements = (db: Database.Database) => ({
  insert: db.prepare(
    "INSERT OR IGNORE INTO dead_letter (sequence, reason, at, checksum, data) VALUES (?, ?, ?, ?, ?)"
  ),
  page: db.prepare(
    "SELECT sequence, reason, at, checksum, data FROM dead_letter WHERE sequence > ? ORDER BY sequence LIMIT ?"
  ),
  delete: db.prepare("DELETE FROM dead_letter WHERE sequence = ? RETURNING length(data)").pluck()
})
