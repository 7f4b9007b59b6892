/** Operation over HTTP: status, drain, shutdown, flush, read-only, verify, repair, dead letters. */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import { Effect } from "effect"
import type { EngineError } from "../../EngineError.js"
import { Lifecycle } from "../../Lifecycle.js"
import { SyncEngine } from "../../SyncEngine.js"
import { Api } from "../api/Api.js"
import {
  type DeadLettersQuery,
  ReadOnlyBody,
  RepairRequest,
  SequencesBody,
  VerifyRequest
} from "../api/ApiSchemas.js"
import { deadLetterBody, lifecycleBody, repairBody, shutdownBody, verifyBody } from "../api/Encode.js"
import { statusBody } from "../api/StatusSchema.js"
import { answering, HttpContext, nodeRequest, nodeResponse } from "../middleware/HttpContext.js"
import { jsonBody, optionalJsonBody } from "../middleware/RequestBody.js"

/** Mutations go on when their client disconnects. */
const mutation = { uninterruptible: true } as const

const defaultLetters = 100

export const AdminHandlers = HttpApiBuilder.group(Api, "admin", (handlers) =>
  Effect.gen(function* () {
    const engine = yield* SyncEngine
    const lifecycle = yield* Lifecycle
    const { budget, oweShutdownAnswer } = yield* HttpContext

    const status = Effect.zipWith(engine.health, engine.stats, statusBody)

    const drain = Effect.map(engine.drain, (changed) => ({
      changed,
      ...lifecycleBody(lifecycle.unsafeSnapshot())
    }))

    const shutdown = (request: HttpServerRequest) =>
      Effect.suspend(() => {
        oweShutdownAnswer(nodeResponse(request))
        return Effect.map(engine.shutdown, shutdownBody)
      })

    const flush = Effect.map(engine.flush, ({ flushed, deadLettered, pending }) => ({
      flushed,
      dead_lettered: deadLettered,
      pending
    }))

    const readonly = (request: HttpServerRequest) =>
      Effect.tap(jsonBody(nodeRequest(request), budget, ReadOnlyBody), (body) =>
        engine.setReadOnly(body.read_only)
      )

    const verify = (request: HttpServerRequest) =>
      Effect.flatMap(optionalJsonBody(nodeRequest(request), budget, VerifyRequest, {}), (options) =>
        Effect.map(engine.verify(options), verifyBody)
      )

    const repair = (request: HttpServerRequest) =>
      Effect.flatMap(optionalJsonBody(nodeRequest(request), budget, RepairRequest, {}), (options) =>
        Effect.map(engine.repair(options), repairBody)
      )

    const letters = ({ after, limit = defaultLetters }: typeof DeadLettersQuery.Type) =>
      Effect.map(engine.deadLetters.list({ after, limit }), (page) => ({
        dead_letters: page.map(deadLetterBody),
        // A page of large letters ends before its limit: only an empty one is the end.
        next_after: page[page.length - 1]?.sequence ?? null
      }))

    const chosen = <E extends EngineError>(
      request: HttpServerRequest,
      act: (sequences?: ReadonlyArray<number>) => Effect.Effect<number, E>
    ) =>
      Effect.flatMap(jsonBody(nodeRequest(request), budget, SequencesBody), (body) =>
        "all" in body ? act() : act(body.sequences)
      )

    return handlers
      .handleRaw("status", () => status)
      .handleRaw("drain", () => drain, mutation)
      .handleRaw("shutdown", ({ request }) => shutdown(request), mutation)
      .handleRaw("flush", () => answering(flush), mutation)
      .handleRaw("readonly", ({ request }) => answering(readonly(request)), mutation)
      .handleRaw("verify", ({ request }) => answering(verify(request)))
      .handleRaw("repair", ({ request }) => answering(repair(request)), mutation)
      .handleRaw("deadLetters", ({ urlParams }) => answering(letters(urlParams)))
      .handleRaw(
        "retryDeadLetters",
        ({ request }) =>
          answering(Effect.map(chosen(request, engine.deadLetters.retry), (retried) => ({ retried }))),
        mutation
      )
      .handleRaw(
        "dropDeadLetters",
        ({ request }) =>
          answering(Effect.map(chosen(request, engine.deadLetters.drop), (dropped) => ({ dropped }))),
        mutation
      )
  })
)
