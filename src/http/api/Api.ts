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
import { transform } from "./OpenApiTransform.js"
import * as P from "./Parameters.js"

const { del, get, head, post, put } = HttpApiEndpoint

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
  .add(get("live", "/health/live").addSuccess(S.LifecycleBody))
  .add(get("ready", "/health/ready").setUrlParams(P.ReadyQuery).addSuccess(S.LifecycleBody))
  .add(get("startup", "/health/startup").addSuccess(S.LifecycleBody))
  .annotateContext(OpenApi.annotations({ description: "Always public" }))

/** With a body that cannot be taken. */
const unread = errors(413, 415, 503)

const admin = secured("admin")
  .add(get("status", "/admin/status").addSuccess(S.StatusBody))
  .add(post("drain", "/admin/drain").addSuccess(S.DrainBody))
  .add(post("shutdown", "/admin/shutdown").addSuccess(S.ShutdownBody))
  .add(post("flush", "/admin/flush").addSuccess(S.FlushBody).addError(errors(503)))
  .add(
    post("readonly", "/admin/readonly").setPayload(S.ReadOnlyBody).addSuccess(S.ReadOnlyBody).addError(unread)
  )
  .add(post("verify", "/admin/verify").setPayload(S.VerifyRequest).addSuccess(S.VerifyBody).addError(unread))
  .add(post("repair", "/admin/repair").setPayload(S.RepairRequest).addSuccess(S.RepairBody).addError(unread))
  .add(
    get("deadLetters", "/admin/dead-letters")
      .setUrlParams(P.DeadLettersQuery)
      .addSuccess(S.DeadLettersBody)
      .addError(errors(503))
  )
  .add(
    post("retryDeadLetters", "/admin/dead-letters/retry")
      .setPayload(S.SequencesBody)
      .addSuccess(S.RetriedBody)
      .addError(errors(413, 415, 422, 429, 501, 503))
  )
  .add(
    post("dropDeadLetters", "/admin/dead-letters/drop")
      .setPayload(S.SequencesBody)
      .addSuccess(S.DroppedBody)
      .addError(unread)
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
    put("put", "/items/:id")
      .setPath(id)
      .setUrlParams(P.PutQuery)
      .setHeaders(P.PutHeaders)
      .setPayload(bytes)
      .addSuccess(S.ReceiptBody)
      .addSuccess(S.ReceiptBody, { status: 201 })
      .addError(errors(...writeErrors, 413, 415))
  )
  .add(
    get("get", "/items/:id")
      .setPath(id)
      .setUrlParams(P.GetQuery)
      .setHeaders(P.GetHeaders)
      .addSuccess(bytes)
      .addSuccess(HttpApiSchema.Empty(304))
      .addError(errors(404))
  )
  .add(
    head("head", "/items/:id")
      .setPath(id)
      .setUrlParams(P.GetQuery)
      .setHeaders(P.GetHeaders)
      .addSuccess(HttpApiSchema.Empty(200))
      .addSuccess(HttpApiSchema.Empty(304))
      .addError(errors(404))
  )
  .add(
    del("delete", "/items/:id")
      .setPath(id)
      .setUrlParams(P.DeleteQuery)
      .setHeaders(P.WriteHeaders)
      .addSuccess(HttpApiSchema.NoContent)
      .addError(errors(...writeErrors))
  )
  .add(
    post("batch", "/items")
      .setUrlParams(P.BatchQuery)
      .setHeaders(P.BatchHeaders)
      .setPayload(ndjson)
      .addSuccess(ndjson)
      .addError(errors(413, 415, 422, 429, 501))
  )
  .add(get("scan", "/items").setUrlParams(P.ScanQuery).addSuccess(ndjson))

const merkle = secured("merkle")
  .addError(errors(503))
  .add(get("root", "/merkle/root").addSuccess(S.RootBody))
  .add(get("node", "/merkle/node").setUrlParams(P.NodeQuery).addSuccess(S.NodeBody).addError(errors(404)))
  .add(get("branches", "/merkle/branches").setUrlParams(P.NamesQuery).addSuccess(S.BranchesBody))
  .add(get("leaves", "/merkle/leaves").setUrlParams(P.LeavesQuery).addSuccess(S.LeavesBody))
  .add(get("sum", "/merkle/sum").setUrlParams(P.RangeQuery).addSuccess(S.SumBody))
  .add(get("parts", "/merkle/parts").setUrlParams(P.PartsQuery).addSuccess(S.PartsBody))

/** Prometheus' text format. */
export const metricsContentType = "text/plain; version=0.0.4; charset=utf-8"

const metrics = secured("metrics").add(
  get("metrics", "/metrics").addSuccess(HttpApiSchema.Text({ contentType: metricsContentType }))
)

const documents = secured("documents")
  .add(get("openapi", "/openapi.json").addSuccess(Schema.Unknown))
  .add(get("docs", "/docs").addSuccess(HttpApiSchema.Text({ contentType: "text/html" })))

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
      transform
    })
  )
