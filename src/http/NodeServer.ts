/**
 * Node's HTTP server with its limits set, typed answers to requests the parser refuses, and an end that is bounded.
 *
 * @since 0.1.0
 */
import { createServer, type Server, STATUS_CODES } from "node:http"
import type { Duplex } from "node:stream"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"

/** Limits on connections and requests; times in milliseconds. @since 0.1.0 @category models */
export interface ServerLimits {
  readonly headersTimeout: number
  readonly requestTimeout: number
  readonly keepAliveTimeout: number
  readonly maxConnections: number
}

const parserFaults: Readonly<
  Record<string, { readonly status: number; readonly error: string; readonly message: string }>
> = {
  HPE_HEADER_OVERFLOW: {
    status: 431,
    error: "HeadersTooLarge",
    message: "URL and headers hold more than 16 KiB"
  },
  ERR_HTTP_REQUEST_TIMEOUT: {
    status: 408,
    error: "RequestTimeout",
    message: "the request did not arrive in time"
  }
}

const malformed = { status: 400, error: "MalformedRequest", message: "this is not an HTTP/1.1 request" }

/** The answer, on a socket for which there is no request. */
const answerFault = (code: string | undefined): string => {
  const { status, error, message } = parserFaults[code ?? ""] ?? malformed
  const body = JSON.stringify({ error, message })
  return [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}`,
    "Connection: close",
    "Content-Type: application/json",
    `Content-Length: ${Buffer.byteLength(body)}`,
    "",
    body
  ].join("\r\n")
}

const onClientError = (error: NodeJS.ErrnoException, socket: Duplex): void => {
  const answered = (socket as { readonly _httpMessage?: { readonly headersSent: boolean } })._httpMessage
  if (!socket.writable || error.code === "ECONNRESET" || answered?.headersSent === true) {
    socket.destroy()
    return
  }
  socket.end(answerFault(error.code), () => socket.destroy())
}

/** Checks of the timeouts are this much finer than the timeouts. */
const checks = 4

/** @since 0.1.0 @category constructors */
export const makeServer = (limits: ServerLimits): Server => {
  const shortest = Math.min(limits.headersTimeout, limits.requestTimeout)
  const server = createServer({
    headersTimeout: limits.headersTimeout,
    requestTimeout: limits.requestTimeout,
    keepAliveTimeout: limits.keepAliveTimeout,
    connectionsCheckingInterval: Math.max(50, Math.min(5_000, Math.floor(shortest / checks)))
  })
  server.maxConnections = limits.maxConnections
  server.on("clientError", onClientError)
  return server
}

const pollInterval = Duration.millis(25)

/**
 * Closes the server: no new connections at once, idle ones as they become idle, all others at the deadline. Node
 * alone would wait for them without limit.
 *
 * @since 0.1.0
 * @category functions
 */
export const closeServer = (server: Server, deadline: Duration.Duration): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (!server.listening) return Effect.void
    const closed = Effect.async<void>((resume) => {
      server.close(() => resume(Effect.void))
    })
    const reap = Effect.repeat(
      Effect.sync(() => server.closeIdleConnections()),
      Schedule.spaced(pollInterval)
    )
    return closed.pipe(
      Effect.raceFirst(reap),
      Effect.interruptible,
      Effect.timeoutTo({
        duration: deadline,
        onSuccess: () => undefined,
        onTimeout: () => server.closeAllConnections()
      }),
      Effect.asVoid,
      Effect.interruptible
    )
  })
