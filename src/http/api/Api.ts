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

const describe = (summary: string, description?: string) =>
  OpenApi.annotations({ summary, description, transform: documentOperation })

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

const secured = <const Name extends string>(name: Name) =>
  HttpApiGroup.make(name).addError(errors(403, 500)).middleware(Bearer)

const NotReady = failure(503, S.NotReadyBody)

const health = HttpApiGroup.make("health")
  .add(
    HttpApiEndpoint.get("live", "/health/live")
      .addSuccess(S.LifecycleBody)
      .addError(NotReady)
      .annotateContext(describe("Is the process alive?", "200 until the engine has stopped. Touches no I/O."))
  )
  .add(
    HttpApiEndpoint.get("ready", "/health/ready")
      .setUrlParams(S.ReadyQuery)
      .addSuccess(S.LifecycleBody)
      .addError(NotReady)
      .addError(errors(400))
      .annotateContext(describe("Are queries accepted?", "With `for=writes`: are writes accepted?"))
  )
  .add(
    HttpApiEndpoint.get("startup", "/health/startup")
      .addSuccess(S.LifecycleBody)
      .addError(NotReady)
      .annotateContext(describe("Is the start over?"))
  )
  .annotateContext(OpenApi.annotations({ description: "Always public" }))

const admin = secured("admin")
  .add(
    HttpApiEndpoint.get("status", "/admin/status")
      .addSuccess(S.StatusBody)
      .annotateContext(describe("Health and statistics"))
  )
  .add(
    HttpApiEndpoint.post("drain", "/admin/drain")
      .addSuccess(S.DrainBody)
      .annotateContext(describe("Stop writes, keep reads", "Idempotent."))
  )
  .add(
    HttpApiEndpoint.post("shutdown", "/admin/shutdown")
      .addSuccess(S.ShutdownBody)
      .annotateContext(
        describe(
          "Shut down",
          "Idempotent. Returns when the report is complete; every caller gets the same one."
        )
      )
  )
  .add(
    HttpApiEndpoint.post("flush", "/admin/flush")
      .addSuccess(S.FlushBody)
      .addError(errors(503))
      .annotateContext(describe("Carry everything acknowledged so far to the archive"))
  )
  .add(
    HttpApiEndpoint.post("readonly", "/admin/readonly")
      .setPayload(S.ReadOnlyBody)
      .addSuccess(S.ReadOnlyBody)
      .addError(errors(400, 413, 415, 503))
      .annotateContext(describe("Refuse or admit writes"))
  )
  .add(
    HttpApiEndpoint.post("verify", "/admin/verify")
      .setPayload(S.VerifyRequest)
      .addSuccess(S.VerifyBody)
      .addError(errors(400, 413, 415, 503))
      .annotateContext(
        describe(
          "Prove what the tiers hold",
          "Without a body: the archive's root is the cache's, and the archive's rows hash to its tree. Changes nothing."
        )
      )
  )
  .add(
    HttpApiEndpoint.post("repair", "/admin/repair")
      .setPayload(S.RepairRequest)
      .addSuccess(S.RepairBody)
      .addError(errors(400, 413, 415, 503))
      .annotateContext(
        describe(
          "Repair what verification finds",
          "Without a body everything is looked at. Goes on when the client disconnects."
        )
      )
  )
  .add(
    HttpApiEndpoint.get("deadLetters", "/admin/dead-letters")
      .setUrlParams(S.DeadLettersQuery)
      .addSuccess(S.DeadLettersBody)
      .addError(errors(400, 503))
      .annotateContext(
        describe(
          "List dead letters",
          "By ascending sequence above `after`; `limit` 1 to 10,000, default 100."
        )
      )
  )
  .add(
    HttpApiEndpoint.post("retryDeadLetters", "/admin/dead-letters/retry")
      .setPayload(S.SequencesBody)
      .addSuccess(S.RetriedBody)
      .addError(errors(400, 413, 415, 422, 429, 501, 503))
      .annotateContext(describe("Put dead letters back into the log"))
  )
  .add(
    HttpApiEndpoint.post("dropDeadLetters", "/admin/dead-letters/drop")
      .setPayload(S.SequencesBody)
      .addSuccess(S.DroppedBody)
      .addError(errors(400, 413, 415, 503))
      .annotateContext(describe("Drop dead letters for good"))
  )

const ndjson = HttpApiSchema.Text({ contentType: "application/x-ndjson" })
const bytes = HttpApiSchema.Uint8Array({ contentType: "application/octet-stream" })
const id = Schema.Struct({
  id: Schema.String.annotations({
    description: "1 to 255 bytes of UTF-8, dot-separated, percent-encoded in the path"
  })
})
const readErrors = [400, 503] as const
const writeErrors = [400, 409, 412, 422, 429, 501, 503] as const

const items = secured("items")
  .add(
    HttpApiEndpoint.put("put", "/items/:id")
      .setPath(id)
      .setUrlParams(S.PutQuery)
      .setHeaders(S.PutHeaders)
      .setPayload(bytes)
      .addSuccess(S.ReceiptBody)
      .addSuccess(S.ReceiptBody, { status: 201 })
      .addError(errors(...writeErrors, 413, 415))
      .annotateContext(
        describe(
          "Write an item",
          "The exact bytes are stored. 201 when nothing is known to have been replaced, else 200."
        )
      )
  )
  .add(
    HttpApiEndpoint.get("get", "/items/:id")
      .setPath(id)
      .setUrlParams(S.GetQuery)
      .setHeaders(S.GetHeaders)
      .addSuccess(bytes)
      .addSuccess(HttpApiSchema.Empty(304))
      .addError(errors(...readErrors, 404))
      .annotateContext(
        describe(
          "Read an item",
          "The exact bytes. `verified=true` compares with the archive and re-hashes first."
        )
      )
  )
  .add(
    HttpApiEndpoint.head("head", "/items/:id")
      .setPath(id)
      .setUrlParams(S.GetQuery)
      .setHeaders(S.GetHeaders)
      .addSuccess(HttpApiSchema.Empty(200))
      .addSuccess(HttpApiSchema.Empty(304))
      .addError(errors(...readErrors, 404))
      .annotateContext(describe("Read an item's headers"))
  )
  .add(
    HttpApiEndpoint.del("delete", "/items/:id")
      .setPath(id)
      .setUrlParams(S.DeleteQuery)
      .setHeaders(S.WriteHeaders)
      .addSuccess(HttpApiSchema.NoContent)
      .addError(errors(...writeErrors))
      .annotateContext(
        describe("Delete an item", "204 whether it was there or not; `ETag` is the tombstone's version.")
      )
  )
  .add(
    HttpApiEndpoint.post("batch", "/items")
      .setUrlParams(S.BatchQuery)
      .setHeaders(S.BatchHeaders)
      .setPayload(ndjson)
      .addSuccess(ndjson)
      .addError(errors(400, 413, 415, 422, 429, 501, 503))
      .annotateContext(
        describe(
          "Write many items",
          "One JSON object per line: `id`, `content` or `content_base64`, `version`, `state`, `content_type`, `ttl_seconds`, `traceparent`; or `id` and `delete: true`. Returns one line per item and a summary."
        )
      )
  )
  .add(
    HttpApiEndpoint.get("scan", "/items")
      .setUrlParams(S.ScanQuery)
      .addSuccess(ndjson)
      .addError(errors(...readErrors))
      .annotateContext(
        describe(
          "List items by `prefix` or by `state`",
          'One JSON object per line by ascending id; the last line is `{"next_after":…,"items":…}`. `limit` 1 to 10,000, default 1,000.'
        )
      )
  )

const merkle = secured("merkle")
  .add(
    HttpApiEndpoint.get("root", "/merkle/root")
      .addSuccess(S.RootBody)
      .addError(errors(503))
      .annotateContext(describe("The digest over all archived items"))
  )
  .add(
    HttpApiEndpoint.get("node", "/merkle/node")
      .setUrlParams(S.NodeQuery)
      .addSuccess(S.NodeBody)
      .addError(errors(...readErrors, 404))
      .annotateContext(
        describe(
          "One node and a page of its children",
          "`after` and `after_kind` continue behind a child; `limit` 1 to 10,000, default 1,000."
        )
      )
  )
  .add(
    HttpApiEndpoint.get("branches", "/merkle/branches")
      .setUrlParams(S.NamesQuery)
      .addSuccess(S.BranchesBody)
      .addError(errors(...readErrors))
      .annotateContext(
        describe(
          "The branches of a path",
          "By ascending name above `after`; `limit` 1 to 10,000, default 1,000. Fewer than that: the end."
        )
      )
  )
  .add(
    HttpApiEndpoint.get("leaves", "/merkle/leaves")
      .setUrlParams(S.LeavesQuery)
      .addSuccess(S.LeavesBody)
      .addError(errors(...readErrors))
      .annotateContext(
        describe(
          "The items directly below a path",
          "By ascending name above `after`, up to and including `up_to`; `limit` 1 to 10,000, default 1,000. Fewer than that: the end."
        )
      )
  )
  .add(
    HttpApiEndpoint.get("sum", "/merkle/sum")
      .setUrlParams(S.RangeQuery)
      .addSuccess(S.SumBody)
      .addError(errors(...readErrors))
      .annotateContext(
        describe(
          "Count and sum of the items directly below a path",
          "Above `after`, up to and including `up_to`. Reads at most 100,000 items; `next_after` says where to go on."
        )
      )
  )
  .add(
    HttpApiEndpoint.get("parts", "/merkle/parts")
      .setUrlParams(S.PartsQuery)
      .addSuccess(S.PartsBody)
      .addError(errors(...readErrors))
      .annotateContext(
        describe(
          "The same, cut into parts of `size` items",
          "At most 1,000 parts and 100,000 items, where the last part may be cut short; `next_after` says where to go on."
        )
      )
  )

/** Prometheus' text format. */
export const metricsContentType = "text/plain; version=0.0.4; charset=utf-8"

const metrics = secured("metrics").add(
  HttpApiEndpoint.get("metrics", "/metrics")
    .addSuccess(HttpApiSchema.Text({ contentType: metricsContentType }))
    .annotateContext(describe("Metrics in Prometheus text format"))
)

const documents = secured("documents")
  .add(
    HttpApiEndpoint.get("openapi", "/openapi.json")
      .addSuccess(Schema.Unknown)
      .annotateContext(describe("This document"))
  )
  .add(
    HttpApiEndpoint.get("docs", "/docs")
      .addSuccess(HttpApiSchema.Text({ contentType: "text/html" }))
      .annotateContext(describe("This document as a page"))
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
