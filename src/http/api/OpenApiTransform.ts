/** What the OpenAPI generator does not say by itself: response headers and several content types. Pure. */

interface Response {
  description: string
  headers?: object
  content?: object
}

interface Operation {
  readonly operationId: string
  readonly responses: Readonly<Record<string, Response>>
  readonly requestBody?: { content: object }
}

interface Document {
  readonly components: { readonly schemas: Record<string, object> }
}

/** What each status means. */
const meanings: Readonly<Record<number, string>> = {
  400: "The request or the item is not valid",
  401: "The bearer token is missing or wrong",
  403: "Without a token: not a local host name, or a page of another origin",
  404: "Proven absent",
  409: "The own version is older than what is stored",
  412: "`If-Match` or `If-None-Match` does not hold",
  413: "The content is larger than MAX_PAYLOAD_BYTES",
  415: "The content type or encoding is not taken here",
  422: "The archive refused the item for good; see the dead letters",
  429: "Backpressure; `Retry-After` says when to try again",
  500: "An internal error, or stored bytes that do not match their hash",
  501: "Not supported as configured",
  503: "Closed gate, read-only, full log or an unavailable tier; `Retry-After` says when to try again"
}

const text = (description: string) => ({ description, schema: { type: "string" } })
const number = (description: string) => ({ description, schema: { type: "integer" } })

const etag = { ETag: text("The version as a strong entity tag") }
const receiptHeaders = {
  ...etag,
  "X-Sync-Durability": text(
    "The durability that was reached: `wal` where `archive` was asked for and the archive did not commit in time"
  )
}
const itemHeaders = {
  ...etag,
  "Last-Modified": text("When this version was accepted, to the second"),
  "X-Sync-Version": number("The version"),
  "X-Sync-Updated-At": number("When this version was accepted, in milliseconds since the epoch"),
  "X-Sync-Content-Hash": text("SHA-256 of the bytes in hexadecimal"),
  "X-Sync-State": text("The state tag, percent-encoded; left out when there is none"),
  traceparent: text("Trace context of the write; left out when there is none")
}

const successHeaders: Readonly<Record<string, object>> = {
  "items.get": itemHeaders,
  "items.head": itemHeaders,
  "items.put": receiptHeaders,
  "items.delete": receiptHeaders
}

const headersOf = (operationId: string, status: number): object | undefined => {
  if (status < 400) return successHeaders[operationId]
  if (status === 401) return { "WWW-Authenticate": text("The challenge") }
  return status === 429 || status === 503
    ? { "Retry-After": number("Seconds after which to try again") }
    : undefined
}

const bytes = { schema: { type: "string", format: "binary" } }
const errorContent = { "application/json": { schema: { $ref: "#/components/schemas/Error" } } }

/** Adds headers and content types to one operation. */
export const documentOperation = (generated: Record<string, unknown>): Record<string, unknown> => {
  const { operationId, requestBody, responses } = generated as unknown as Operation
  const { "200": read, "201": created } = responses
  const isHealth = operationId.startsWith("health.")
  for (const [name, response] of Object.entries(responses)) {
    const status = Number(name)
    if (isHealth && status === 503) response.description = "Not so (yet, or any more)"
    else if (status >= 400) {
      // The generator adds its own error for requests that do not decode; this server returns `Error` instead.
      response.content = errorContent
      response.description = meanings[status] ?? response.description
    }
    const headers = isHealth ? undefined : headersOf(operationId, status)
    if (headers !== undefined) response.headers = headers
  }
  if (created !== undefined && read !== undefined) {
    created.description = "Written; nothing is known to have been replaced"
    read.description = "Written over another version"
  }
  if (operationId === "items.get" && read !== undefined) {
    read.content = { "application/json": { schema: {} }, "application/octet-stream": bytes }
  }
  if (operationId === "items.put" && requestBody !== undefined) {
    requestBody.content = { "application/json": { schema: {} }, "*/*": bytes }
  }
  return generated
}

/** Takes out the generator's own errors, which this server never returns. */
export const documentWhole = (generated: Record<string, unknown>): Record<string, unknown> => {
  const { components } = generated as unknown as Document
  for (const name of ["HttpApiDecodeError", "Issue", "PropertyKey"]) delete components.schemas[name]
  return generated
}
