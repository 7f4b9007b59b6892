/**
 * What callers are told when the archive cannot be asked.
 *
 * @since 0.1.0
 */
import type { ArchiveError } from "../archive/Archive.js"
import { TierUnavailable } from "../EngineError.js"

/** How long to wait before asking an unavailable archive again. */
const retryAfterMs = 1000

/** @since 0.1.0 @category constructors */
export const archiveAway = (operation: string, problem: string): TierUnavailable =>
  new TierUnavailable({ tier: "archive", operation, problem, retryAfterMs })

/** An archive's failure as its readers see it. @since 0.1.0 @category constructors */
export const archiveUnavailable =
  (operation: string) =>
  (error: ArchiveError): TierUnavailable =>
    archiveAway(operation, error.problem)

/** There is none to ask; `consequence` goes on with the sentence. @since 0.1.0 @category constructors */
export const noArchive = (operation: string, consequence = ""): TierUnavailable =>
  archiveAway(operation, `no archive is configured or connected${consequence}`)
