/** What becomes of a record that is put, given what the cache holds of its id. Every cache decides with this code. */
import { compareVersions, type ItemRecord, type ItemVersion, sameVersion } from "../SyncItem.js"
import type { PutMode } from "./Cache.js"

/** What a cache holds of an id. */
export interface HeldVersion extends ItemVersion {
  readonly updatedAt: number
  readonly traceparent: string | undefined
}

/**
 * `applied`: newer than what is held. `written`: what is held, once more, which repairs a damaged content. `kept`: of
 * the version that the tree holds, and not written: only a repair brings in another record. `newer`: what is held stays.
 */
export type PutDecision = "applied" | "written" | "kept" | "newer"

/**
 * Of one version, what stands outside of the tree gives way to another content, which the archive has, but not to one
 * that expires.
 */
export const decidePut = (
  mode: PutMode,
  record: ItemRecord,
  held: HeldVersion | undefined,
  inTree: boolean,
  expires: boolean
): PutDecision => {
  if (held === undefined) return "applied"
  const order = compareVersions(record, held)
  if (order > 0) return "applied"
  const same = order === 0 && sameVersion(record, held)
  if (order < 0 || (!same && mode !== "repair" && (inTree || expires))) return "newer"
  const other = record.updatedAt !== held.updatedAt || record.traceparent !== held.traceparent
  if (other && inTree && mode !== "repair") return "kept"
  return same ? "written" : "applied"
}
