/** What every handler needs of the server it runs in. */
import type { ServerResponse } from "node:http"
import { Context } from "effect"
import type { BodyBudget } from "./RequestBody.js"

export {
  toIncomingMessage as nodeRequest,
  toServerResponse as nodeResponse
} from "@effect/platform-node/NodeHttpServerRequest"

/** The server's state that its handlers share. */
export class HttpContext extends Context.Tag("effect-sync-engine/http/middleware/HttpContext")<
  HttpContext,
  {
    readonly budget: BodyBudget
    /** Milliseconds without a byte in either direction after which a streaming connection is given up. */
    readonly streamIdleTimeout: number
    /** Notes that the answer to a shutdown is owed until this response has been sent or has become impossible. */
    readonly oweShutdownAnswer: (response: ServerResponse) => void
  }
>() {}

/**
 * Ends a connection on which no byte moved for this long, so that a peer who stopped reading or writing in the
 * middle of a stream does not hold it.
 */
export const guardIdle = (response: ServerResponse, milliseconds: number): void => {
  response.setTimeout(milliseconds, () => response.destroy())
}
