/** What callers are told when the archive cannot be asked. */
import type { ArchiveError } from "../../archive/ArchiveError.js"
import { TierUnavailable } from "../../EngineError.js"

/** How long to wait before asking an unavailable archive again. */
const retryAfterMs = 1000

export const archiveFailed = (operation: string, problem: string): TierUnavailable =>
  new TierUnavailable({ tier: "archive", operation, problem, retryAfterMs })

/** An archive's failure as its readers see it. */
export const archiveUnavailable =
  (operation: string) =>
  (error: ArchiveError): TierUnavailable =>
    archiveFailed(operation, error.problem)

/** There is none to ask; `consequence` goes on with the sentence. */
export const noArchive = (operation: string, consequence = ""): TierUnavailable =>
  archiveFailed(operation, `no archive is configured or connected${consequence}`)
