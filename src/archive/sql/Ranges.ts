/** Prefixes as byte ranges of ids. */
import { compareBytes } from "../../merkle/ByteOrder.js"
import type { ScanRange } from "../Archive.js"

/** Ids above (or at) `from` and below `to`; missing bounds are open. */
export interface IdRange {
  readonly from: string
  readonly fromInclusive: boolean
  readonly to: string | undefined
}

/** The ids strictly below a path: every text that starts with `path.`; `/` is the byte after the dot. */
export const below = (path: string): { readonly from: string; readonly to: string | undefined } =>
  path === "" ? { from: "", to: undefined } : { from: `${path}.`, to: `${path}/` }

/** Whether an id lies in a scan's prefix: it is the prefix or lies below it. */
export const inPrefix = (id: string, prefix: string): boolean =>
  prefix === "" || id === prefix || (id.startsWith(prefix) && id.charCodeAt(prefix.length) === 0x2e)

/**
 * What a scan has to read, in order: perhaps the item that bears the prefix as its id, then what lies below.
 * Ids such as `a-b` sort between `a` and `a.b`, so the two are not one range.
 */
export const scanPlan = (
  range: ScanRange
): { readonly point: string | undefined; readonly span: IdRange | undefined } => {
  const { from, to } = below(range.prefix)
  const after = range.after
  const beforePoint = after === undefined || compareBytes(after, range.prefix) < 0
  const point = range.prefix !== "" && beforePoint ? range.prefix : undefined
  if (after === undefined || compareBytes(after, from) < 0) {
    return { point, span: { from, fromInclusive: true, to } }
  }
  return {
    point,
    span:
      to !== undefined && compareBytes(after, to) >= 0 ? undefined : { from: after, fromInclusive: false, to }
  }
}
