/** What the OpenAPI generator does not say by itself: response headers, several content types, security. Pure. */

interface Response {
  description: string
  headers?: object
  content?: object
}

interface Operation {
  readonly operationId: string
  readonly responses: Readonly<Record<string, Response>>
  readonly requestBody?: { content: object }
  security: ReadonlyArray<object>
}

interface Document {
  readonly components: {
    readonly securitySchemes: Record<string, object>
    readonly schemas: Record<string, object>
  }
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
}

/** What each status means, in the document. */
export const meanings: Readonly<Record<number, string>> = {
  304: "Not modified",
  400: "The request or the item is not valid",
  401: "The bearer token is missing or wrong",
  403: "Without a token: not a local host name, or a page of another origin",
  404: "Proven absent",
  405: "This path does not take this method; `Allow` says which",
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

const retryAfter = { "Retry-After": number("Seconds after which to try again") }
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

const bytes = { schema: { type: "string", format: "binary" } }

const headersOf = (operationId: string, status: number): object | undefined => {
  if (status < 400) return successHeaders[operationId]
  if (status === 401) return { "WWW-Authenticate": text("The challenge") }
  return status === 429 || status === 503 ? retryAfter : undefined
}

const errorSchema = {
  type: "object",
  required: ["error", "message"],
  properties: { error: { type: "string" }, message: { type: "string" } },
  additionalProperties: true,
  description: "`error` is a stable name, `message` is for people; further fields depend on the error"
}

const errorContent = { "application/json": { schema: { $ref: "#/components/schemas/Error" } } }

/** The generator's own error for requests that do not decode; this server returns `Error` instead. */
const replaced = ["HttpApiDecodeError", "Issue", "PropertyKey"]

/** Adds headers and content types to one operation. */
export const documentOperation = (generated: Record<string, unknown>): Record<string, unknown> => {
  const operation = generated as unknown as Operation
  for (const [status, response] of Object.entries(operation.responses)) {
    const isHealth = operation.operationId.startsWith("health.")
    if (Number(status) >= 400 && !(isHealth && status === "503")) {
      response.content = errorContent
      response.description = meanings[Number(status)] ?? response.description
    }
    const headers = isHealth ? undefined : headersOf(operation.operationId, Number(status))
    if (headers !== undefined) response.headers = headers
  }
  const { "200": read, "201": created } = operation.responses
  if (created?.content !== undefined && read?.content !== undefined) {
    created.content = read.content
    created.description = "Written; nothing is known to have been replaced"
    read.description = "Written over another version"
  }
  if (operation.operationId === "items.get" && read !== undefined) {
    read.content = { "application/json": { schema: {} }, "application/octet-stream": bytes }
  }
  if (operation.operationId === "items.put" && operation.requestBody !== undefined) {
    operation.requestBody.content = { "application/json": { schema: {} }, "*/*": bytes }
  }
  return generated
}

/** Adds the error's schema, and that everything but health takes the bearer token where one is configured. */
export const documentWhole = (generated: Record<string, unknown>): Record<string, unknown> => {
  const document = generated as unknown as Document
  document.components.securitySchemes.bearer = {
    type: "http",
    scheme: "bearer",
    description: "ADMIN_TOKEN, where one is configured"
  }
  for (const name of replaced) delete document.components.schemas[name]
  document.components.schemas.Error = errorSchema
  for (const [path, operations] of Object.entries(document.paths)) {
    for (const operation of Object.values(operations)) {
      operation.security = path.startsWith("/health/") ? [] : [{ bearer: [] }]
    }
  }
  return generated
}
