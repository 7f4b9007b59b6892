/**
 * Who may talk to the server: the bearer token where one is set; where none is, only this machine, and no web
 * page that a browser on it has open.
 */
import { createHash, timingSafeEqual } from "node:crypto"
import { isIPv4 } from "node:net"
import { Either, Redacted } from "effect"
import { InvalidConfig } from "../../EngineError.js"
import { type RequestFailed, refusal } from "../api/RequestFailed.js"

/** What the checks need of a request. */
interface RequestFacts {
  readonly method: string
  /** The first segment of the path, decoded. */
  readonly area: string | undefined
  readonly headers: Readonly<Record<string, string | undefined>>
}

/** Says why a request is refused, or `undefined`. */
export type Gatekeeper = (facts: RequestFacts) => RequestFailed | undefined

/** Whether a host name or address is this machine only: `localhost`, 127.0.0.0/8, `::1`. */
export const isLoopback = (host: string): boolean => {
  const name = host.toLowerCase().replace(/^\[(.*)\]$/, "$1")
  const address = name.startsWith("::ffff:") ? name.slice("::ffff:".length) : name
  return name === "localhost" || name === "::1" || (isIPv4(address) && address.startsWith("127."))
}

const digest = (text: string): Buffer => createHash("sha256").update(text, "utf8").digest()

/** Whether a text can be a bearer token: visible ASCII, at least one character. */
export const isToken = (text: string): boolean => /^[\u0021-\u007e]+$/.test(text)

const bearer = /^bearer +([\u0021-\u007e]+)$/i

const unauthorized = (message: string, challenge: string): RequestFailed =>
  refusal(401, "Unauthorized", message, {
    headers: { "www-authenticate": `Bearer realm="sync-engine"${challenge}` }
  })

/** Everything but health needs the token. */
const tokenGatekeeper = (token: string): Gatekeeper => {
  const expected = digest(token)
  return ({ area, headers }) => {
    if (area === "health") return undefined
    const header = headers.authorization
    if (header === undefined || header === "") return unauthorized("this route needs a bearer token", "")
    const given = bearer.exec(header)?.[1]
    if (given === undefined) return unauthorized("the Authorization header is not `Bearer <token>`", "")
    // Digests have one length whatever was sent, so the comparison takes one time.
    return timingSafeEqual(digest(given), expected)
      ? undefined
      : unauthorized("the bearer token is not the right one", ', error="invalid_token"')
  }
}

const hostNameOf = (authority: string): string => authority.replace(/:[0-9]*$/, "")

const readsOnly = new Set(["GET", "HEAD"])

/** The host of an `Origin` with its port; `undefined` for `null` and for what is no origin. */
const originAuthority = (origin: string): string | undefined => /^https?:\/\/([^/]+)$/.exec(origin)?.[1]

/**
 * Without a token a browser is the one stranger who reaches loopback. A page that had its own name resolve to
 * 127.0.0.1 still sends that name in `Host`; a page that sends a form or a fetch here says its `Origin`.
 */
const loopbackGatekeeper: Gatekeeper = ({ headers, method }) => {
  const host = headers.host
  if (host !== undefined && !isLoopback(hostNameOf(host))) {
    return refusal(
      403,
      "ForbiddenHost",
      "without ADMIN_TOKEN only requests to localhost, 127.0.0.0/8 or [::1] are served; set ADMIN_TOKEN to use other names"
    )
  }
  const origin = headers.origin
  if (origin !== undefined && !readsOnly.has(method) && originAuthority(origin) !== host) {
    const message = "a page of another origin may not write here while no ADMIN_TOKEN is set"
    return refusal(403, "ForbiddenOrigin", message)
  }
  return undefined
}

/** The gatekeeper for a configured token, or for none. */
export const gatekeeper = (token: Redacted.Redacted | undefined): Gatekeeper =>
  token === undefined ? loopbackGatekeeper : tokenGatekeeper(Redacted.value(token))

/**
 * Refuses a token that cannot be sent in a header, and any host but loopback without a token. The error never
 * holds the token.
 */
export const checkExposure = (options: {
  readonly host: string
  readonly token: Redacted.Redacted | undefined
}): Either.Either<void, InvalidConfig> => {
  if (options.token !== undefined && !isToken(Redacted.value(options.token))) {
    return Either.left(
      new InvalidConfig({
        name: "ADMIN_TOKEN",
        problem: "is empty or holds white space, controls or characters outside ASCII",
        allowed: "1 or more visible ASCII characters"
      })
    )
  }
  if (options.token === undefined && !isLoopback(options.host)) {
    return Either.left(
      new InvalidConfig({
        name: "HTTP_HOST",
        problem: `${JSON.stringify(options.host)} can be reached from other machines and no ADMIN_TOKEN is set`,
        allowed: "localhost, 127.0.0.0/8 or ::1 without ADMIN_TOKEN; any address with it"
      })
    )
  }
  return Either.right(undefined)
}
