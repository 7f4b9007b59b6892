/**
 * What has to be known of a large content before it is written, found out in pieces: a turn of the event loop is
 * bounded by `bytesPerTurn`, whatever the size.
 */
import { createHash } from "node:crypto"
import { Effect } from "effect"
import type { ContentType } from "../../SyncItem.js"
import { maxDetectedJsonBytes } from "../../SyncItem.js"
import { JsonText } from "../../shared/ndjson/JsonText.js"
import { yieldToEventLoop } from "../../shared/YieldToEventLoop.js"

export interface Examined {
  /** Of these bytes, and no others. */
  readonly content: Uint8Array
  readonly contentHash: string
  /** Whether they are one JSON text; false too where nobody asks. */
  readonly json: boolean
}

export const examine = (
  content: Uint8Array,
  contentType: ContentType | undefined,
  bytesPerTurn: number
): Effect.Effect<Examined> =>
  Effect.gen(function* () {
    const asked =
      contentType === "json" || (contentType === undefined && content.length <= maxDetectedJsonBytes)
    const text = asked ? JsonText.of(content) : undefined
    const hash = createHash("sha256")
    let json = text !== undefined
    for (let at = 0; at < content.length; at += bytesPerTurn) {
      yield* yieldToEventLoop
      const end = Math.min(content.length, at + bytesPerTurn)
      hash.update(content.subarray(at, end))
      json = json && text?.check(at, end) === true
    }
    return { content, contentHash: hash.digest("hex"), json: json && text?.isWhole === true }
  })
