/** Operation over HTTP: status, drain, shutdown, flush, read-only, verify, repair, dead letters. */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import { Effect } from "effect"
import { isClean, Lifecycle } from "../../Lifecycle.js"
import { SyncEngine } from "../../SyncEngine.js"
import { Api } from "../api/Api.js"
import { deadLetterRow, repaired, type SequencesBody, verified } from "../api/ApiSchemas.js"
import { HttpContext, nodeResponse } from "../middleware/HttpContext.js"

/** Mutations go on when their client disconnects. */
const mutation = { uninterruptible: true } as const

/** Without sequences: all. */
const chosen = (body: typeof SequencesBody.Type) => ("all" in body ? undefined : body.sequences)

export const AdminHandlers = HttpApiBuilder.group(Api, "admin", (handlers) =>
  Effect.gen(function* () {
    const engine = yield* SyncEngine
    const lifecycle = yield* Lifecycle
    const { oweShutdownAnswer } = yield* HttpContext

    return handlers
      .handle("status", () => Effect.all({ health: engine.health, stats: engine.stats }))
      .handle(
        "drain",
        () => Effect.map(engine.drain, (changed) => ({ changed, ...lifecycle.unsafeSnapshot() })),
        mutation
      )
      .handle(
        "shutdown",
        ({ request }) =>
          Effect.suspend(() => {
            oweShutdownAnswer(nodeResponse(request))
            return Effect.map(engine.shutdown, (report) => ({ clean: isClean(report), ...report }))
          }),
        mutation
      )
      .handle("flush", () => engine.flush, mutation)
      .handle("readonly", ({ payload }) => Effect.as(engine.setReadOnly(payload.readOnly), payload), mutation)
      .handle("verify", ({ payload }) => Effect.map(engine.verify(payload), verified))
      .handle("repair", ({ payload }) => Effect.map(engine.repair(payload), repaired), mutation)
      .handle("deadLetters", ({ urlParams: { after, limit = 100 } }) =>
        Effect.map(engine.deadLetters.list({ after, limit }), (page) => ({
          deadLetters: page.map(deadLetterRow),
          // A page of large letters ends before its limit: only an empty one is the end.
          nextAfter: page[page.length - 1]?.sequence
        }))
      )
      .handle(
        "retryDeadLetters",
        ({ payload }) => Effect.map(engine.deadLetters.retry(chosen(payload)), (retried) => ({ retried })),
        mutation
      )
      .handle(
        "dropDeadLetters",
        ({ payload }) => Effect.map(engine.deadLetters.drop(chosen(payload)), (dropped) => ({ dropped })),
        mutation
      )
  })
)
