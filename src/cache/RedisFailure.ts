/** What a failure of the driver or an error reply of the server means. */

import type { RedisAddress } from "../config/RedisUrl.js"
import { redact } from "../shared/Redaction.js"

const unreachable =
  /ECONN|EPIPE|ENOTFOUND|EAI_|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|Connection is closed|Stream isn't writeable|connection close|Socket closed|max retries per request/i

/** The server cannot serve this call where it was asked, or not now. */
const elsewhere = /^(READONLY|MOVED|ASK|TRYAGAIN|CLUSTERDOWN|MASTERDOWN|LOADING|NOAUTH)\b/

/** Whoever replies so is not, or no longer, where the keys are: another connection has to be made. */
const notHere = /^(READONLY|MOVED|CLUSTERDOWN|MASTERDOWN|LOADING|NOAUTH)\b/

/** A server that replies so is the right one, and takes no writes at present. */
const noWrites = /^(OOM|MISCONF|NOREPLICAS)\b/

/** The text of whatever was thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

export const kindOf = (problem: string): "unavailable" | "timeout" | "refused" =>
  /Command timed out|Blocking command timed out/.test(problem)
    ? "timeout"
    : unreachable.test(problem) || elsewhere.test(problem)
      ? "unavailable"
      : "refused"

/** Whether the keys are to be looked for through another connection. */
export const isElsewhere = (problem: string): boolean => notHere.test(problem)

/** Whether this is the right server, which only takes no writes at present. */
export const isFull = (problem: string): boolean => noWrites.test(problem)

/** Where a cluster says that the keys are; the host that was asked where it names none. */
export const movedTo = (problem: string, asked: string): RedisAddress | undefined => {
  const match = /^MOVED \d+ (\S*):(\d{1,5})\b/.exec(problem)
  if (match === null) return undefined
  const [, host = "", port] = match
  return { host: host === "" || host === "?" ? asked : host, port: Number(port) }
}

/**
 * What went wrong, as one text. The driver attaches the whole command, password or content included, to its errors:
 * only the text is kept.
 */
export const problemIn = (cause: unknown, secrets: ReadonlyArray<string>): string => {
  const error = cause as {
    message?: unknown
    code?: unknown
    errors?: ReadonlyArray<{ message?: string }>
  }
  let text = typeof error?.message === "string" ? error.message : String(cause)
  if (text === "") text = error?.errors?.[0]?.message ?? String(error?.code ?? "unknown error")
  // The server's own words, with nothing of ours in them; replaced in, a password that is one of them would show.
  if (!text.startsWith("WRONGPASS invalid username-password pair")) text = redact(text, secrets)
  return text.length > 300 ? `${text.slice(0, 300)}…` : text
}
