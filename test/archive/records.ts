/** Records and numbers for the archives' tests. */
import { contentHashOf, type ItemRecord } from "../../src/SyncItem.js"

/** A put of some text. */
export const put = (
  id: string,
  version: number,
  text = `${id}@${version}`,
  more: Partial<ItemRecord> = {}
): ItemRecord => {
  const content = more.content ?? new TextEncoder().encode(text)
  return {
    id,
    version,
    updatedAt: 1_000 + version,
    contentType: "binary",
    contentHash: contentHashOf(content),
    state: undefined,
    content,
    traceparent: undefined,
    deleted: false,
    ...more
  }
}

/** A deterministic source of whole numbers below a bound. */
export const numbers = (seed: number): ((bound: number) => number) => {
  let state = seed
  return (bound) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * bound)
  }
}
