/** What the OpenAPI generator does not say by itself: response headers and several content types. Pure. */

interface Response {
  description: string
  headers?: object
  content?: object
}

interface Operation {
  readonly operationId: string
  summary?: string | undefined
  description?: string | undefined
  readonly responses: Readonly<Record<string, Response>>
  readonly requestBody?: { content: object }
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Record<string, object> }
}

/** What each operation does: its summary, and behind the bar more about it. */
const texts: Readonly<Record<string, string>> = {
  "health.live": "Is the process alive? | 200 until the engine has stopped. Touches no I/O.",
  "health.ready": "Are queries accepted? | With `for=writes`: are writes accepted?",
  "health.startup": "Is the start over?",
  "admin.status": "Health and statistics",
  "admin.drain": "Stop writes, keep reads | Idempotent.",
  "admin.shutdown":
    "Shut down | Idempotent. Returns when the report is complete; every caller gets the same one.",
  "admin.flush": "Carry everything acknowledged so far to the archive",
  "admin.readonly": "Refuse or admit writes",
  "admin.verify":
    "Prove what the tiers hold | Without a body: the archive's root is the cache's, and the archive's rows hash to its tree. Changes nothing.",
  "admin.repair":
    "Repair what verification finds | Without a body everything is looked at. Goes on when the client disconnects.",
  "admin.deadLetters":
    "List dead letters | By ascending sequence above `after`; `limit` 1 to 10,000, default 100.",
  "admin.retryDeadLetters": "Put dead letters back into the log",
  "admin.dropDeadLetters": "Drop dead letters for good",
  "items.put":
    "Write an item | The exact bytes are stored. 201 when nothing is known to have been replaced, else 200.",
  "items.get":
    "Read an item | The exact bytes. `verified=true` compares with the archive and re-hashes first.",
  "items.head": "Read an item's headers",
  "items.delete": "Delete an item | 204 whether it was there or not; `ETag` is the tombstone's version.",
  "items.batch":
    "Write many items | One JSON object per line: `id`, `content` or `content_base64`, `version`, `state`, `content_type`, `ttl_seconds`, `traceparent`; or `id` and `delete: true`. Returns one line per item and a summary.",
  "items.scan":
    'List items by `prefix` or by `state` | One JSON object per line by ascending id; the last line is `{"next_after":…,"items":…}`. `limit` 1 to 10,000, default 1,000.',
  "merkle.root": "The digest over all archived items",
  "merkle.node":
    "One node and a page of its children | `after` and `after_kind` continue behind a child; `limit` 1 to 10,000, default 1,000.",
  "merkle.branches":
    "The branches of a path | By ascending name above `after`; `limit` 1 to 10,000, default 1,000. Fewer than that: the end.",
  "merkle.leaves":
    "The items directly below a path | By ascending name above `after`, up to and including `up_to`; `limit` 1 to 10,000, default 1,000. Fewer than that: the end.",
  "merkle.sum":
    "Count and sum of the items directly below a path | Above `after`, up to and including `up_to`. Reads at most 100,000 items; `next_after` says where to go on.",
  "merkle.parts":
    "The same, cut into parts of `size` items | At most 1,000 parts and 100,000 items, where the last part may be cut short; `next_after` says where to go on.",
  "metrics.metrics": "Metrics in Prometheus text format",
  "documents.openapi": "This document",
  "documents.docs": "This document as a page"
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

const documentOperation = (operation: Operation): void => {
  const { operationId, requestBody, responses } = operation
  const { "200": read, "201": created } = responses
  const isHealth = operationId.startsWith("health.")
  ;[operation.summary, operation.description] = texts[operationId]?.split(" | ") ?? []
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
}

/** Adds texts, headers and content types; takes out the generator's own errors, which this server never returns. */
export const transform = (generated: Record<string, unknown>): Record<string, unknown> => {
  const { components, paths } = generated as unknown as Document
  for (const name of ["HttpApiDecodeError", "Issue", "PropertyKey"]) delete components.schemas[name]
  for (const operation of Object.values(paths).flatMap((methods) => Object.values(methods)))
    documentOperation(operation)
  return generated
}
