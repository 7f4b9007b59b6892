/** Prefixes as byte ranges of ids. */
import { compareBytes } from "../../merkle/ByteOrder.js"
import type { ScanRange } from "../Archive.js"

/** Ids above `from`, or at it where it is `inclusive`, and below `to`; without it up to the end. */
export interface IdRange {
  readonly from: string
  readonly inclusive: boolean
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
  const { after, prefix } = range
  const { from, to } = below(prefix)
  const point = prefix !== "" && (after === undefined || compareBytes(after, prefix) < 0) ? prefix : undefined
  if (after === undefined || compareBytes(after, from) < 0)
    return { point, span: { from, inclusive: true, to } }
  const ended = to !== undefined && compareBytes(after, to) >= 0
  return { point, span: ended ? undefined : { from: after, inclusive: false, to } }
}

/** The condition that a column of ids lies in a range. */
export const isIn = (column: string, range: IdRange, bind: (id: string) => string): string => {
  const above = `${column} ${range.inclusive ? ">=" : ">"} ${bind(range.from)}`
  return range.to === undefined ? above : `${above} AND ${column} < ${bind(range.to)}`
}
