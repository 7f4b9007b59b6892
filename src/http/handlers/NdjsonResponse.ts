/** A stream of lines as a response: a status that tells whether it could begin, a last line that tells how it ended. */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Cause, Chunk, Effect, Option, type Scope, Stream } from "effect"
import { jsonLine } from "../../shared/ndjson/ObjectLine.js"
import { type Failure, internalError, mapError } from "../api/ErrorMapping.js"

const failureLine = (cause: Cause.Cause<Failure>): Effect.Effect<string> =>
  Option.match(Cause.failureOption(cause), {
    onNone: () => Effect.as(Effect.logError("HTTP stream failed", cause), jsonLine(internalError.body)),
    onSome: (error) => Effect.succeed(jsonLine(mapError(error).body))
  })

const encoder = new TextEncoder()

/**
 * Pulls the first lines before the status is sent, so that a closed gate or an unavailable tier is a 503; a failure
 * after that is the last line.
 */
export const ndjsonResponse = <E extends Failure>(
  lines: Stream.Stream<string | Uint8Array, E>
): Effect.Effect<HttpServerResponse.HttpServerResponse, E, Scope.Scope> =>
  Effect.gen(function* () {
    const pull = yield* Stream.toPull(lines)
    const first = yield* Effect.catchAll(
      pull,
      Option.match({ onNone: () => Effect.succeed(Chunk.empty()), onSome: (error) => Effect.fail(error) })
    )
    const body = Stream.concat(Stream.fromChunk(first), Stream.repeatEffectChunkOption(pull)).pipe(
      Stream.catchAllCause((cause) =>
        Cause.isInterruptedOnly(cause)
          ? Stream.failCause(cause as Cause.Cause<never>)
          : Stream.fromEffect(failureLine(cause))
      ),
      Stream.filter((line) => line.length > 0),
      Stream.map((line) => (typeof line === "string" ? encoder.encode(line) : line))
    )
    return HttpServerResponse.stream(body, { contentType: "application/x-ndjson" })
  })
