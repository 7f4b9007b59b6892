/** Lua scripts by the names that the server gives them. */
import { createHash } from "node:crypto"

/** A Lua script and the name the server knows it by. */
export interface Script {
  readonly source: string
  readonly sha: string
}

export const script = (source: string): Script => ({
  source,
  sha: createHash("sha1").update(source).digest("hex")
})
