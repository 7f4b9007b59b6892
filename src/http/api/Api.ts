/**
 * The HTTP API as a value: routes, parameters, bodies, statuses. The OpenAPI document and the documentation page
 * are generated from it.
 */
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpApiSecurity from "@effect/platform/HttpApiSecurity"
import * as OpenApi from "@effect/platform/OpenApi"
import { Schema } from "effect"
import * as S from "./ApiSchemas.js"
import { errors, failure } from "./ErrorMapping.js"
import { documentOperation, documentWhole } from "./OpenApiTransform.js"
import * as P from "./Parameters.js"

const { del, get, head, post, put } = HttpApiEndpoint

/** An endpoint and what the document says of it. */
const about = <Endpoint extends HttpApiEndpoint.HttpApiEndpoint.Any>(
  endpoint: Endpoint,
  summary: string,
  description?: string
): Endpoint =>
  (endpoint as unknown as HttpApiEndpoint.HttpApiEndpoint.AnyWithProps).annotateContext(
    OpenApi.annotations({ summary, description, transform: documentOperation })
  ) as unknown as Endpoint

/** Who may call, where a token is configured; `Authorization` says who may otherwise. */
export class Bearer extends HttpApiMiddleware.Tag<Bearer>()("effect-sync-engine/http/api/Bearer", {
  failure: errors(401),
  security: {
    bearer: HttpApiSecurity.annotate(
      HttpApiSecurity.bearer,
      OpenApi.Description,
      "ADMIN_TOKEN, where one is configured"
    )
  }
}) {}

/** A group whose endpoints need the token. That a request does not decode (400) is said of every endpoint anyway. */
const secured = <const Name extends string>(name: Name) =>
  HttpApiGroup.make(name).addError(errors(403, 500)).middleware(Bearer)

const health = HttpApiGroup.make("health")
  .addError(failure(503, S.NotReadyBody))
  .add(
    about(
      get("live", "/health/live"),
      "Is the process alive?",
      "200 until the engine has stopped. Touches no I/O."
    ).addSuccess(S.LifecycleBody)
  )
  .add(
    about(get("ready", "/health/ready"), "Are queries accepted?", "With `for=writes`: are writes accepted?")
      .setUrlParams(P.ReadyQuery)
      .addSuccess(S.LifecycleBody)
  )
  .add(about(get("startup", "/health/startup"), "Is the start over?").addSuccess(S.LifecycleBody))
  .annotateContext(OpenApi.annotations({ description: "Always public" }))

const admin = secured("admin")
  .add(about(get("status", "/admin/status"), "Health and statistics").addSuccess(S.StatusBody))
  .add(about(post("drain", "/admin/drain"), "Stop writes, keep reads", "Idempotent.").addSuccess(S.DrainBody))
  .add(
    about(
      post("shutdown", "/admin/shutdown"),
      "Shut down",
      "Idempotent. Returns when the report is complete; every caller gets the same one."
    ).addSuccess(S.ShutdownBody)
  )
  .add(
    about(post("flush", "/admin/flush"), "Carry everything acknowledged so far to the archive")
      .addSuccess(S.FlushBody)
      .addError(errors(503))
  )
  .add(
    about(post("readonly", "/admin/readonly"), "Refuse or admit writes")
      .setPayload(S.ReadOnlyBody)
      .addSuccess(S.ReadOnlyBody)
      .addError(errors(413, 415, 503))
  )
  .add(
    about(
      post("verify", "/admin/verify"),
      "Prove what the tiers hold",
      "Without a body: the archive's root is the cache's, and the archive's rows hash to its tree. Changes nothing."
    )
      .setPayload(S.VerifyRequest)
      .addSuccess(S.VerifyBody)
      .addError(errors(413, 415, 503))
  )
  .add(
    about(
      post("repair", "/admin/repair"),
      "Repair what verification finds",
      "Without a body everything is looked at. Goes on when the client disconnects."
    )
      .setPayload(S.RepairRequest)
      .addSuccess(S.RepairBody)
      .addError(errors(413, 415, 503))
  )
  .add(
    about(
      get("deadLetters", "/admin/dead-letters"),
      "List dead letters",
      "By ascending sequence above `after`; `limit` 1 to 10,000, default 100."
    )
      .setUrlParams(P.DeadLettersQuery)
      .addSuccess(S.DeadLettersBody)
      .addError(errors(503))
  )
  .add(
    about(post("retryDeadLetters", "/admin/dead-letters/retry"), "Put dead letters back into the log")
      .setPayload(S.SequencesBody)
      .addSuccess(S.RetriedBody)
      .addError(errors(413, 415, 422, 429, 501, 503))
  )
  .add(
    about(post("dropDeadLetters", "/admin/dead-letters/drop"), "Drop dead letters for good")
      .setPayload(S.SequencesBody)
      .addSuccess(S.DroppedBody)
      .addError(errors(413, 415, 503))
  )

const ndjson = HttpApiSchema.Text({ contentType: "application/x-ndjson" })
const bytes = HttpApiSchema.Uint8Array({ contentType: "application/octet-stream" })
const id = Schema.Struct({
  id: Schema.String.annotations({
    description: "1 to 255 bytes of UTF-8, dot-separated, percent-encoded in the path"
  })
})
const writeErrors = [409, 412, 422, 429, 501] as const

const items = secured("items")
  .addError(errors(503))
  .add(
    about(
      put("put", "/items/:id"),
      "Write an item",
      "The exact bytes are stored. 201 when nothing is known to have been replaced, else 200."
    )
      .setPath(id)
      .setUrlParams(P.PutQuery)
      .setHeaders(P.PutHeaders)
      .setPayload(bytes)
      .addSuccess(S.ReceiptBody)
      .addSuccess(S.ReceiptBody, { status: 201 })
      .addError(errors(...writeErrors, 413, 415))
  )
  .add(
    about(
      get("get", "/items/:id"),
      "Read an item",
      "The exact bytes. `verified=true` compares with the archive and re-hashes first."
    )
      .setPath(id)
      .setUrlParams(P.GetQuery)
      .setHeaders(P.GetHeaders)
      .addSuccess(bytes)
      .addSuccess(HttpApiSchema.Empty(304))
      .addError(errors(404))
  )
  .add(
    about(head("head", "/items/:id"), "Read an item's headers")
      .setPath(id)
      .setUrlParams(P.GetQuery)
      .setHeaders(P.GetHeaders)
      .addSuccess(HttpApiSchema.Empty(200))
      .addSuccess(HttpApiSchema.Empty(304))
      .addError(errors(404))
  )
  .add(
    about(
      del("delete", "/items/:id"),
      "Delete an item",
      "204 whether it was there or not; `ETag` is the tombstone's version."
    )
      .setPath(id)
      .setUrlParams(P.DeleteQuery)
      .setHeaders(P.WriteHeaders)
      .addSuccess(HttpApiSchema.NoContent)
      .addError(errors(...writeErrors))
  )
  .add(
    about(
      post("batch", "/items"),
      "Write many items",
      "One JSON object per line: `id`, `content` or `content_base64`, `version`, `state`, `content_type`, `ttl_seconds`, `traceparent`; or `id` and `delete: true`. Returns one line per item and a summary."
    )
      .setUrlParams(P.BatchQuery)
      .setHeaders(P.BatchHeaders)
      .setPayload(ndjson)
      .addSuccess(ndjson)
      .addError(errors(413, 415, 422, 429, 501))
  )
  .add(
    about(
      get("scan", "/items"),
      "List items by `prefix` or by `state`",
      'One JSON object per line by ascending id; the last line is `{"next_after":…,"items":…}`. `limit` 1 to 10,000, default 1,000.'
    )
      .setUrlParams(P.ScanQuery)
      .addSuccess(ndjson)
  )

const merkle = secured("merkle")
  .addError(errors(503))
  .add(about(get("root", "/merkle/root"), "The digest over all archived items").addSuccess(S.RootBody))
  .add(
    about(
      get("node", "/merkle/node"),
      "One node and a page of its children",
      "`after` and `after_kind` continue behind a child; `limit` 1 to 10,000, default 1,000."
    )
      .setUrlParams(P.NodeQuery)
      .addSuccess(S.NodeBody)
      .addError(errors(404))
  )
  .add(
    about(
      get("branches", "/merkle/branches"),
      "The branches of a path",
      "By ascending name above `after`; `limit` 1 to 10,000, default 1,000. Fewer than that: the end."
    )
      .setUrlParams(P.NamesQuery)
      .addSuccess(S.BranchesBody)
  )
  .add(
    about(
      get("leaves", "/merkle/leaves"),
      "The items directly below a path",
      "By ascending name above `after`, up to and including `up_to`; `limit` 1 to 10,000, default 1,000. Fewer than that: the end."
    )
      .setUrlParams(P.LeavesQuery)
      .addSuccess(S.LeavesBody)
  )
  .add(
    about(
      get("sum", "/merkle/sum"),
      "Count and sum of the items directly below a path",
      "Above `after`, up to and including `up_to`. Reads at most 100,000 items; `next_after` says where to go on."
    )
      .setUrlParams(P.RangeQuery)
      .addSuccess(S.SumBody)
  )
  .add(
    about(
      get("parts", "/merkle/parts"),
      "The same, cut into parts of `size` items",
      "At most 1,000 parts and 100,000 items, where the last part may be cut short; `next_after` says where to go on."
    )
      .setUrlParams(P.PartsQuery)
      .addSuccess(S.PartsBody)
  )

/** Prometheus' text format. */
export const metricsContentType = "text/plain; version=0.0.4; charset=utf-8"

const metrics = secured("metrics").add(
  about(get("metrics", "/metrics"), "Metrics in Prometheus text format").addSuccess(
    HttpApiSchema.Text({ contentType: metricsContentType })
  )
)

const documents = secured("documents")
  .add(about(get("openapi", "/openapi.json"), "This document").addSuccess(Schema.Unknown))
  .add(
    about(get("docs", "/docs"), "This document as a page").addSuccess(
      HttpApiSchema.Text({ contentType: "text/html" })
    )
  )

/** The whole API. */
export const Api = HttpApi.make("sync-engine")
  .add(health)
  .add(admin)
  .add(items)
  .add(merkle)
  .add(metrics)
  .add(documents)
  .annotateContext(
    OpenApi.annotations({
      title: "sync-engine",
      version: "0.1.0",
      description:
        "A tiered sync engine: durable writes, reads from memory, a Merkle tree over everything archived.",
      license: { name: "MIT" },
      transform: documentWhole
    })
  )
