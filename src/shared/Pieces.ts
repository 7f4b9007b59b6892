/**
 * Large byte arrays are copied and hashed in pieces, so that a turn of the event loop is bounded whatever their size.
 */
import { createHash, hash } from "node:crypto"
import { Effect } from "effect"
import { yieldToEventLoop } from "./YieldToEventLoop.js"

/** About a millisecond's work. */
export const pieceBytes = 1024 * 1024

/** The parts one behind the other, in an array buffer of their own. */
export const join = (parts: ReadonlyArray<Uint8Array>): Effect.Effect<Uint8Array<ArrayBuffer>> =>
  Effect.gen(function* () {
    const whole = Buffer.allocUnsafeSlow(parts.reduce((length, part) => length + part.length, 0))
    let end = 0
    let left = pieceBytes
    for (const part of parts) {
      for (let at = 0; at < part.length; ) {
        const piece = part.subarray(at, at + left)
        whole.set(piece, end)
        at += piece.length
        end += piece.length
        left -= piece.length
        if (left > 0) continue
        yield* yieldToEventLoop
        left = pieceBytes
      }
    }
    return whole
  })

/** As `contentHashOf`. */
export const hashOf = (content: Uint8Array): Effect.Effect<string> =>
  content.length <= pieceBytes
    ? Effect.sync(() => hash("sha256", content, "hex"))
    : Effect.gen(function* () {
        const whole = createHash("sha256")
        for (let at = 0; at < content.length; at += pieceBytes) {
          whole.update(content.subarray(at, at + pieceBytes))
          yield* yieldToEventLoop
        }
        return whole.digest("hex")
      })
