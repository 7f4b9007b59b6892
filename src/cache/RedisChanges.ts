/** The change stream: a Redis stream of what the archive has committed, at least once, in log order. */
import type { CacheChange, PositionedChange } from "./Cache.js"
import type { RedisConnection } from "./RedisConnection.js"
import { script } from "./RedisScript.js"
import { type Field, textIn } from "./ReplyDecoder.js"
import { packChanges } from "./ScriptArguments.js"
import { appendChangesScript } from "./scripts.js"

const appendLua = script(appendChangesScript)
const appendBatch = 500

const changeIn = (position: string, fields: ReadonlyArray<Field>): PositionedChange => {
  const values = new Map<string, string>()
  for (let i = 0; i + 1 < fields.length; i += 2) values.set(textIn(fields[i]), textIn(fields[i + 1]))
  return {
    position,
    operation: values.get("op") === "DELETE" ? "DELETE" : "PUT",
    id: values.get("id") ?? "",
    version: Number(values.get("version")),
    contentHash: values.get("hash") ?? "",
    sequence: Number(values.get("seq"))
  }
}

/** Appends in order; after a failure a beginning of the entries may have been appended. */
export const appendChanges = async (
  connection: RedisConnection,
  entries: ReadonlyArray<CacheChange>,
  maxLength: number
): Promise<void> => {
  for (let from = 0; from < entries.length; from += appendBatch) {
    const data = packChanges(entries, from, Math.min(from + appendBatch, entries.length))
    await connection.run("appendChanges", appendLua, [maxLength, data])
  }
}

/** Entries after a position, oldest first. */
export const readChanges = async (
  connection: RedisConnection,
  after: string,
  count: number
): Promise<ReadonlyArray<PositionedChange>> => {
  const reply = (await connection.command("readChanges", "XRANGE", [
    `${connection.options.keyPrefix}changes`,
    after === "" ? "-" : `(${after}`,
    "+",
    "COUNT",
    count
  ])) as ReadonlyArray<[Buffer, ReadonlyArray<Field>]>
  return reply.map(([position, fields]) => changeIn(textIn(position), fields))
}
