/**
 * Node's HTTP server with its limits set, typed answers to requests the parser refuses, and an end that is bounded.
 */
import { createServer, type Server } from "node:http"
import { type AddressInfo, isIPv6 } from "node:net"
import type { Duplex } from "node:stream"
import { type Duration, Effect, type Redacted, Schedule } from "effect"
import { InvalidConfig } from "../../EngineError.js"
import { malformed, type RequestFailed, refusal } from "../api/RequestFailed.js"
import { checkExposure, isLoopback } from "../middleware/Authorization.js"
import { awaitsContinue } from "../middleware/RequestBody.js"
import { Connection, type Handle } from "./Connection.js"

/** Limits on connections and requests; times in milliseconds. */
export interface ServerLimits {
  readonly headersTimeout: number
  readonly requestTimeout: number
  readonly keepAliveTimeout: number
  readonly maxConnections: number
}

/** What node found wrong before there was a request, or in the middle of one. */
const faults: Readonly<Record<string, RequestFailed>> = {
  HPE_HEADER_OVERFLOW: refusal(431, "HeadersTooLarge", "URL and headers hold more than 16 KiB"),
  ERR_HTTP_REQUEST_TIMEOUT: refusal(408, "RequestTimeout", "the request did not arrive in time"),
  HPE_INVALID_EOF_STATE: malformed("the request ended before it was complete")
}

const noRequest = malformed("this is not an HTTP/1.1 request")
const noTunnel = refusal(405, "MethodNotAllowed", "this is no proxy: CONNECT is not taken")

/** Checks of the timeouts are this much finer than the timeouts. */
const checks = 4

export const makeServer = (limits: ServerLimits, handle: Handle): Server => {
  const shortest = Math.min(limits.headersTimeout, limits.requestTimeout)
  const server = createServer({
    headersTimeout: limits.headersTimeout,
    requestTimeout: limits.requestTimeout,
    keepAliveTimeout: limits.keepAliveTimeout,
    connectionsCheckingInterval: Math.max(50, Math.min(5_000, Math.floor(shortest / checks))),
    // Node's own refusal has no body.
    requireHostHeader: false
  })
  server.maxConnections = limits.maxConnections
  // Node leaves out what comes behind some thousand headers, a condition among them; 16 KiB bound them already.
  server.maxHeadersCount = 0
  // A client that closes its side has asked all it wants to; node would take it for one that has gone.
  Object.assign(server, { httpAllowHalfOpen: true })
  const connections = new WeakMap<Duplex, Connection>()
  const accept: Handle = (request, response) => connections.get(request.socket)?.accept(request, response)
  return server
    .on("connection", (socket) => connections.set(socket, new Connection(socket, handle)))
    .on("request", accept)
    .on("checkContinue", (request, response) => {
      awaitsContinue(request, response)
      accept(request, response)
    })
    .on("checkExpectation", accept)
    .on("connect", (_, socket) => connections.get(socket)?.fail(noTunnel))
    .on("clientError", (error: NodeJS.ErrnoException, socket) => {
      if (!socket.writable || error.code === "ECONNRESET") socket.destroy()
      else connections.get(socket)?.fail(faults[error.code ?? ""] ?? noRequest)
    })
}

/** Binds the server; fails with node's error. */
export const listen = (
  server: Server,
  { host, port }: Omit<Address, "token">
): Effect.Effect<void, NodeJS.ErrnoException> =>
  Effect.async((resume) => {
    const onError = (error: NodeJS.ErrnoException) => resume(Effect.fail(error))
    server.once("error", onError)
    server.listen({ host, port }, () => {
      server.off("error", onError)
      resume(Effect.void)
    })
  })

/** Where to listen, and the token without which only this machine may come in. */
export interface Address {
  readonly host: string
  readonly port: number
  readonly token: Redacted.Redacted | undefined
}

const bindProblem = ({ code }: NodeJS.ErrnoException, { host, port }: Address): InvalidConfig => {
  const problems: Readonly<Record<string, readonly [name: string, problem: string]>> = {
    EADDRINUSE: ["HTTP_PORT", `port ${port} on ${host} is in use by another process`],
    EACCES: ["HTTP_PORT", `this process may not bind port ${port}`],
    EADDRNOTAVAIL: ["HTTP_HOST", `${JSON.stringify(host)} is no address of this machine`],
    ENOTFOUND: ["HTTP_HOST", `${JSON.stringify(host)} cannot be resolved`]
  }
  const [name, problem] = problems[code ?? ""] ?? [
    "HTTP_HOST",
    `cannot listen on ${host}:${port} (${code ?? "unknown"})`
  ]
  return new InvalidConfig({
    name,
    problem,
    allowed: name === "HTTP_PORT" ? "a free port, or 0 for any" : "an address of this machine"
  })
}

export const urlOf = (address: string, port: number): string =>
  `http://${isIPv6(address) ? `[${address}]` : address}:${port}`

/**
 * Binds the server, unless others than this machine could come in without a token: neither by the host that is
 * named nor by what it resolves to.
 */
export const bind = (server: Server, wanted: Address): Effect.Effect<AddressInfo, InvalidConfig> =>
  Effect.gen(function* () {
    const { host, port, token } = wanted
    yield* checkExposure(wanted)
    yield* Effect.mapError(listen(server, wanted), (cause) => bindProblem(cause, wanted))
    const bound = server.address()
    const address = typeof bound === "object" && bound !== null ? bound : { address: host, port, family: "" }
    if (token !== undefined || isLoopback(address.address)) return address
    server.close()
    return yield* new InvalidConfig({
      name: "HTTP_HOST",
      problem: `${JSON.stringify(host)} resolves to ${address.address}, which other machines can reach, and no ADMIN_TOKEN is set`,
      allowed: "a name of this machine only, or any address with ADMIN_TOKEN"
    })
  })

/**
 * Closes the server: no new connections at once, idle ones as they become idle, all others at the deadline. Node
 * alone would wait for them without limit.
 */
export const closeServer = (server: Server, deadline: Duration.Duration): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (!server.listening) return Effect.void
    const closed = Effect.async<void>((resume) => {
      server.close(() => resume(Effect.void))
    })
    const reap = Effect.repeat(
      Effect.sync(() => server.closeIdleConnections()),
      Schedule.spaced("25 millis")
    )
    return closed.pipe(
      Effect.raceFirst(reap),
      Effect.timeoutTo({
        duration: deadline,
        onSuccess: () => {},
        onTimeout: () => server.closeAllConnections()
      }),
      Effect.interruptible
    )
  })
