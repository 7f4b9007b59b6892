/** The change stream: a Redis stream of what the archive has committed, at least once, in log order. */
import { Effect } from "effect"
import type { CacheService, PositionedChange } from "./Cache.js"
import { readChangesScript } from "./ReadScripts.js"
import type { RedisConnection } from "./RedisConnection.js"
import { type Field, textIn } from "./ReplyDecoder.js"
import { encodeChanges } from "./ScriptArguments.js"
import { appendChangesScript } from "./WriteScripts.js"

const appendBatch = 500

/** Appends in order; after a failure a beginning of the entries may have been appended. */
export const appendChanges =
  (connection: RedisConnection): CacheService["appendChanges"] =>
  (entries, maxLength) => {
    const starts = Array.from({ length: Math.ceil(entries.length / appendBatch) }, (_, n) => n * appendBatch)
    const append = (from: number) =>
      connection.run(
        "appendChanges",
        appendChangesScript,
        () => [maxLength, encodeChanges(entries.slice(from, from + appendBatch))],
        () => {}
      )
    return Effect.forEach(starts, append, { discard: true })
  }

/** Entries after a position, oldest first. */
export const readChanges =
  (connection: RedisConnection): CacheService["readChanges"] =>
  (after, count) =>
    connection.run(
      "readChanges",
      readChangesScript,
      () => [after === "" ? "-" : `(${after}`, count],
      (reply: ReadonlyArray<[Buffer, ReadonlyArray<Field>]>) =>
        reply.map(([position, fields]) => changeIn(textIn(position), fields))
    )

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
