/**
 * A commit as one piece of work in the thread of the connection: heads, rows, tree and lease in one transaction, each
 * statement prepared once. What `SqlCommit` does statement by statement for a server; to send a message for each of
 * them, and rows as parameters of long statements, is most of what a commit here would cost.
 */
import type Database from "better-sqlite3"
import { compareBytes } from "../../merkle/ByteOrder.js"
import { nodeDigest } from "../../merkle/Digest.js"
import { subtract, type Total, zero } from "../../merkle/TreeDelta.js"
import type { ItemRecord } from "../../SyncItem.js"
import { adoptedBytes, CommitPlan, inLockOrder, type StoredHead } from "../CommitPlan.js"
import { type Tables, updatedColumns } from "../sql/SqlDialect.js"
import { storedOf, totalOf } from "../sql/SqlRows.js"
import * as SqliteDialect from "./SqliteDialect.js"
import type { CommitReply } from "./SqliteProtocol.js"

const idsPerRead = 10_000

const textsOf = (tables: Tables) => {
  const { items, tree, writers } = tables
  const { addToTree, insert } = SqliteDialect.textsOf(tables)
  const head = "version, updated_at, lower(hex(content_hash)), deleted"
  const version =
    "id, version, updated_at, lower(hex(content_hash)) AS content_hash, deleted, content_type, state"
  return {
    // One text for all rows: to fetch each from SQLite costs as much as to find it.
    heads:
      `SELECT json_group_array(json_array(ids.key, ${items}.rowid, ${head})) FROM json_each(?) AS ids ` +
      `CROSS JOIN ${items} ON ${items}.id = ids.value`,
    insert: insert(1),
    // Unguarded: the transaction is the only one, and has decided by the rows that are here.
    update:
      `UPDATE ${items} SET ${updatedColumns.map((column) => `${column} = ${SqliteDialect.placeOf(column)}`).join()} ` +
      "WHERE rowid = ?",
    addToTree: addToTree(1),
    removeEmpty: `DELETE FROM ${tree} WHERE path = ? AND count = 0`,
    heldByAnother: `SELECT 1 FROM ${writers} WHERE token IS NOT NULL AND node IS NOT ? LIMIT 1`,
    top: `SELECT path, count, ${SqliteDialect.limbs} AS limbs, top_version FROM ${tree} WHERE path = ''`,
    version: `SELECT ${version}, traceparent FROM ${items} WHERE id = ?`,
    adopted: `SELECT ${version}, traceparent, CASE WHEN LENGTH(content) <= ? THEN content END AS content FROM ${items} WHERE id = ?`
  }
}

type Statements = Readonly<Record<keyof ReturnType<typeof textsOf>, Database.Statement>>

type Row = Readonly<Record<string, unknown>>
type HeadRow = readonly [
  place: number,
  rowid: number,
  version: number,
  updatedAt: number,
  contentHash: string,
  deleted: number
]

/** A stored row without its content, and where it is. */
interface PlacedHead extends StoredHead {
  readonly rowid: number
}

/** Commits batches on this database. */
export class SqliteCommit {
  private readonly statements: Statements

  constructor(database: Database.Database, tables: Tables) {
    const texts = Object.entries(textsOf(tables))
    this.statements = Object.fromEntries(
      texts.map(([name, text]) => [name, database.prepare(text)])
    ) as Statements
    this.statements.heads.pluck(true)
  }

  /** In the transaction that is open; nothing when another node is the sole writer, and it has to be rolled back. */
  commit(sent: ReadonlyArray<ItemRecord>, node: string | undefined): Omit<CommitReply, "wal"> | undefined {
    const records = inLockOrder(sent)
    const heads = this.heads(records)
    const plan = new CommitPlan()
    plan.decide(records, heads)
    const delta = plan.delta.toMap()
    const applied = plan.inserts.length + plan.updates.length
    if (applied > 0) {
      const { heldByAnother, insert, update } = this.statements
      for (const record of plan.inserts) insert.run(SqliteDialect.itemParams(record))
      for (const record of plan.updates) {
        const [id, ...params] = SqliteDialect.itemParams(record)
        update.run(params, heads.get(id as string)!.rowid)
      }
      this.changeTree(delta, plan.maxVersion)
      if (heldByAnother.get(node ?? null) !== undefined) return undefined
    }
    const after = this.top()
    const before = subtract(after, delta.get("") ?? zero)
    return {
      applied,
      ...this.notTaken(sent, plan),
      rootBefore: nodeDigest("", before.count, before.sum),
      rootAfter: nodeDigest("", after.count, after.sum),
      topVersion: after.topVersion
    }
  }

  private heads(records: ReadonlyArray<ItemRecord>): ReadonlyMap<string, PlacedHead> {
    const heads = new Map<string, PlacedHead>()
    for (let from = 0; from < records.length; from += idsPerRead) {
      const ids = records.slice(from, from + idsPerRead).map(({ id }) => id)
      const rows = JSON.parse(this.statements.heads.get(JSON.stringify(ids)) as string)
      for (const [place, rowid, version, updatedAt, contentHash, deleted] of rows as Array<HeadRow>) {
        const id = ids[place]!
        heads.set(id, { id, rowid, version, updatedAt, contentHash, deleted: deleted === 1 })
      }
    }
    return heads
  }

  private changeTree(delta: ReadonlyMap<string, Total>, maxVersion: number): void {
    const { addToTree, removeEmpty } = this.statements
    // The top is always among them: it keeps the highest version, also when no leaf changed.
    const changes = new Map(delta.has("") ? delta : [...delta, ["", zero]])
    for (const path of [...changes.keys()].sort(compareBytes)) {
      const { count, sum } = changes.get(path)!
      addToTree.run(SqliteDialect.treeParams({ path, count, sum }, maxVersion))
      if (count < 0 && path !== "") removeEmpty.run(path)
    }
  }

  private top() {
    const row = this.statements.top.get() as Row | undefined
    return row === undefined ? { ...zero, topVersion: 0 } : totalOf(row)
  }

  /** What is stored in place of the records that a commit leaves out. */
  private notTaken(sent: ReadonlyArray<ItemRecord>, { equal, losers }: CommitPlan) {
    if (equal.length + losers.length === 0) return { equal: [], losers: [], stored: [] }
    const { adopted, version } = this.statements
    const most = Math.floor(adoptedBytes / losers.length)
    const places = new Map(sent.map((record, place) => [record, place]))
    return {
      equal: equal.map((record) => places.get(record)!),
      losers: losers.map((record) => places.get(record)!),
      stored: [
        ...equal.map(({ id }) => storedOf(version.get(id) as Row)),
        ...losers.map(({ id }) => storedOf(adopted.get(most, id) as Row))
      ]
    }
  }
}
