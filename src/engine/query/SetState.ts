/** Another state for the same content. */
import { Effect, Exit, Option } from "effect"
import { InvalidItem, VersionMismatch } from "../../EngineError.js"
import type { Receipt } from "../../SyncEngineModels.js"
import { stateProblem } from "../../SyncItem.js"
import type { PointReads } from "../read/PointReads.js"
import type { EngineState } from "../state/EngineState.js"
import type { WriteOperations } from "../write/WriteOperations.js"
import { withOptions } from "../write/WriteOperations.js"
import type { QueryApi } from "./QueryApi.js"
import { guardedById } from "./Requests.js"

export const make =
  (core: EngineState, reads: PointReads, writes: WriteOperations): QueryApi["setState"] =>
  (id, state, asked) =>
    guardedById(
      core,
      id,
      withOptions(
        asked,
        Effect.fnUntraced(function* ({ durability, expectedVersion: expected }) {
          const problem = state === undefined ? undefined : stateProblem(state)
          if (problem !== undefined) return yield* new InvalidItem({ id, field: "state", problem })
          for (;;) {
            const record = (yield* reads.fetchProven([id])).get(id)
            if (record === undefined || record.deleted) return Option.none<Receipt>()
            const { content, contentHash: expectedHash, contentType, traceparent, version } = record
            const expectedVersion = expected ?? version
            // Not left to the write alone: a deletion on its way must not pass for the absence that was expected.
            if (expectedVersion !== version) {
              return yield* new VersionMismatch({ id, expected: expectedVersion, actual: version })
            }
            const receipt = yield* Effect.exit(
              writes.submit(
                { id, content, contentType, state, traceparent },
                { durability, expectedVersion, expectedHash }
              )
            )
            if (Exit.isSuccess(receipt)) return Option.some(receipt.value)
            const failure = receipt.cause._tag === "Fail" ? receipt.cause.error : undefined
            // The content changed between read and write: the state goes to the new content, once it can be read.
            if (!(failure instanceof VersionMismatch) || expected !== undefined)
              return yield* Effect.failCause(receipt.cause)
            yield* core.inFlight.landed(id)
          }
        })
      )
    )
