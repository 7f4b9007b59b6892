/**
 * What a connection knows about a request's body and its readers have to: that it is sent only when asked for, and
 * that it broke off.
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import { HttpProblem } from "../api/HttpProblem.js"

const reluctant = new WeakMap<IncomingMessage, ServerResponse>()
const broken = new WeakMap<IncomingMessage, HttpProblem>()

/** Notes that the client waits for `100 Continue` before it sends the body. */
export const awaitsContinue = (source: IncomingMessage, response: ServerResponse): void => {
  reluctant.set(source, response)
}

/** Asks for a body that is going to be read, once. */
export const askForBody = (source: IncomingMessage): void => {
  reluctant.get(source)?.writeContinue()
  reluctant.delete(source)
}

/** Whether the body has not been asked for: it may come all the same, or never. */
export const isBodyUncertain = (source: IncomingMessage): boolean => reluctant.has(source)

/** Ends a body that cannot come to its end, and tells who reads it. */
export const breakBody = (source: IncomingMessage, problem: HttpProblem): void => {
  broken.set(source, problem)
  if (source.listenerCount("error") > 0) source.emit("error", problem)
}

/** Why the body ended early; its sender disconnected unless the connection knows better. */
export const bodyProblem = (source: IncomingMessage): HttpProblem =>
  broken.get(source) ??
  new HttpProblem({ status: 400, error: "InvalidBody", message: "the body ended before it was complete" })

/** Whether no more of the body comes, although it is not complete. */
export const isBroken = (source: IncomingMessage): boolean => broken.has(source) || source.destroyed
