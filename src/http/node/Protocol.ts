/** What HTTP asks of every request (RFC 9110 and 9112) and node's parser leaves to the server. Pure. */
import type { IncomingMessage } from "node:http"
import { HttpProblem } from "../api/HttpProblem.js"

/** A 400 for what is no request at all. */
export const malformed = (message: string): HttpProblem =>
  new HttpProblem({ status: 400, error: "MalformedRequest", message, headers: { connection: "close" } })

const refused = (status: number, error: string, message: string): HttpProblem =>
  new HttpProblem({ status, error, message, headers: { connection: "close" } })

/** What the checks need of a request. */
export type RequestHead = Pick<IncomingMessage, "httpVersion" | "headers" | "rawHeaders">

const countOf = (rawHeaders: ReadonlyArray<string>, name: string): number =>
  rawHeaders.filter((text, index) => index % 2 === 0 && text.toLowerCase() === name).length

/**
 * Why a request cannot be taken whatever its route is. After such an answer the connection ends: where the next
 * request begins is not certain.
 */
export const protocolProblem = ({
  headers,
  httpVersion,
  rawHeaders
}: RequestHead): HttpProblem | undefined => {
  const isOld = httpVersion === "1.0"
  const hosts = countOf(rawHeaders, "host")
  if (hosts > 1 || (hosts === 0 && !isOld)) {
    return malformed(hosts === 0 ? "the Host header is missing" : "there is more than one Host header")
  }
  const coding = headers["transfer-encoding"]
  if (coding !== undefined && isOld) return malformed("HTTP/1.0 has no Transfer-Encoding")
  if (coding !== undefined && coding.trim().toLowerCase() !== "chunked") {
    return refused(501, "UnsupportedTransferCoding", "of the transfer codings only chunked is taken")
  }
  const { expect } = headers
  if (expect !== undefined && !isOld && expect.trim().toLowerCase() !== "100-continue") {
    return refused(417, "ExpectationFailed", "of the expectations only 100-continue is met")
  }
  return undefined
}
