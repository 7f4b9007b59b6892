/**
 * What has to be known of a large content before it is written, found out in pieces: a turn of the event loop is
 * bounded by `bytesPerTurn`, whatever the size.
 *
 * @since 0.1.0
 */
import { createHash } from "node:crypto"
import * as Effect from "effect/Effect"
import { giveWay } from "../internal/GiveWay.js"
import { JsonText } from "../ndjson/JsonText.js"
import type { ContentType } from "../SyncItem.js"
import { maxDetectedJsonBytes } from "../SyncItem.js"

/** @since 0.1.0 @category models */
export interface Examined {
  /** Of these bytes, and no others. */
  readonly content: Uint8Array
  readonly contentHash: string
  /** Whether they are one JSON text; false too where nobody asks. */
  readonly json: boolean
}

/** @since 0.1.0 @category functions */
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
      yield* giveWay
      const end = Math.min(content.length, at + bytesPerTurn)
      hash.update(content.subarray(at, end))
      json = json && text?.check(at, end) === true
    }
    return { content, contentHash: hash.digest("hex"), json: json && text?.isWhole === true }
  })
