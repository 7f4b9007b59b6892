/**
 * Lua scripts by the names that the server gives them.
 *
 * @since 0.1.0
 */
import { createHash } from "node:crypto"

/** A Lua script and the name the server knows it by. @since 0.1.0 @category models */
export interface Script {
  readonly source: string
  readonly sha: string
}

/** @since 0.1.0 @category constructors */
export const script = (source: string): Script => ({
  source,
  sha: createHash("sha1").update(source).digest("hex")
})
