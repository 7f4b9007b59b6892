/** Versions as entity tags, and the preconditions a client can set (RFC 9110, sections 8.8 and 13). Pure. */
import { Either } from "effect"
import { invalidRequest, type RequestFailed } from "./RequestFailed.js"
import { parseWhole } from "./Wire.js"

/** A version as a strong entity tag: `"7"`, quotes included. */
export const etagOf = (version: number): string => `"${version}"`

/** The version in a strong entity tag, or `undefined` when it is none of ours. */
export const versionOfEtag = (tag: string): number | undefined => {
  const digits = /^"([0-9]+)"$/.exec(tag.trim())?.[1]
  return digits === undefined ? undefined : parseWhole(digits, 1, Number.MAX_SAFE_INTEGER)
}

/**
 * The expected version a write's preconditions ask for: `If-Match: "7"` is 7, `If-None-Match: *` is 0 (absent),
 * none is `undefined`. Anything else is refused, because ignoring a precondition would overwrite.
 */
export const expectedVersion = (
  ifMatch: string | undefined,
  ifNoneMatch: string | undefined
): Either.Either<number | undefined, RequestFailed> => {
  if (ifMatch !== undefined && ifNoneMatch !== undefined) {
    return Either.left(invalidRequest("If-Match", "cannot be combined with If-None-Match"))
  }
  if (ifNoneMatch !== undefined) {
    return ifNoneMatch.trim() === "*"
      ? Either.right(0)
      : Either.left(invalidRequest("If-None-Match", "takes only * on a write (write if absent)"))
  }
  if (ifMatch === undefined) return Either.right(undefined)
  const version = versionOfEtag(ifMatch)
  return version === undefined
    ? Either.left(invalidRequest("If-Match", 'must be one version as a strong tag, such as "7"'))
    : Either.right(version)
}

/** Whether `If-None-Match` on a read names this version: `*`, or a list of tags that holds it, compared weakly. */
export const noneMatchHolds = (ifNoneMatch: string | undefined, version: number): boolean =>
  ifNoneMatch !== undefined &&
  (ifNoneMatch.trim() === "*" ||
    ifNoneMatch.split(",").some((tag) => tag.trim().replace(/^W\//, "") === etagOf(version)))
