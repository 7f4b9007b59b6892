/**
 * Where the connection to Redis comes from: a socket of our own, or the application's client.
 *
 * In a cluster all keys of a prefix live in one slot, so a cluster is one server with one more question: which of its
 * nodes has that slot. A node that does not have it names the one that has, and our own socket is made there. The
 * driver's cluster client was given up for this: it follows a failover without a word, and what was proven of the old
 * primary would be believed of the new one until the next look. Over an application's cluster client that is so.
 */
import { Effect, type Scope } from "effect"
import { Redis } from "ioredis"
import type { RedisAddress, RedisTarget } from "../config/RedisUrl.js"
import { messageOf, movedTo } from "./RedisFailure.js"
import { type Greeting, greet, type Send } from "./RedisServer.js"

/** A connection whose server was looked at. */
export interface RedisSession {
  readonly send: Send
  /** Every primary that may have keys of ours, as far as is known at present. */
  readonly primaries: () => ReadonlyArray<Send>
  readonly greeting: Greeting
}

export interface RedisSource {
  readonly keyPrefix: string
  readonly secrets: ReadonlyArray<string>
  /** How many addresses there are to be tried in turn. */
  readonly places: () => number
  /**
   * Opens a connection until the scope closes; fails with whatever the driver or the server says. `lost` is called when
   * it breaks off.
   *
   * @param epoch for a new tree
   */
  readonly open: (
    lost: (cause?: unknown) => void,
    epoch: string
  ) => Effect.Effect<RedisSession, unknown, Scope.Scope>
  /** What to say of a failure, and whether there is another place to be tried at once. */
  readonly afterFailure: (problem: string) => { readonly problem: string; readonly tryAtOnce: boolean }
  /** Ends when waiting for the next attempt makes no more sense. */
  readonly comesBack: Effect.Effect<void>
}

export interface RedisTimeouts {
  /** Milliseconds for one attempt to connect. */
  readonly connectTimeoutMs: number
  /** Milliseconds for one command. */
  readonly commandTimeoutMs: number
}

/** How often in a row another node's word for where the keys are is followed without a pause. */
export const mostRedirections = 5

const promised = <A>(run: () => Promise<A>): Effect.Effect<A, unknown> =>
  Effect.tryPromise({ try: run, catch: (cause) => cause })

/** One socket to one server, given up rather than made again: ready, and on the right database. */
export const openSocket = (
  target: RedisTarget,
  address: RedisAddress,
  timeouts: RedisTimeouts,
  lost: (cause?: unknown) => void
): Effect.Effect<Send, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const client = yield* Effect.acquireRelease(
      Effect.sync(() => newClient(target, address, timeouts)),
      (client) =>
        Effect.async<void>((resume) => {
          if (client.status === "end") return resume(Effect.void)
          client.once("end", () => resume(Effect.void))
          client.disconnect()
        })
    )
    // What went wrong arrives as an "error" event; what is rejected then only says that the connection is closed.
    let told: unknown
    client.on("error", (cause: unknown) => {
      told = cause
    })
    client.once("close", () => lost(told))
    client.once("connect", () => guardReplies(client.stream))
    const send: Send = (command, args) => client.callBuffer(command, [...args])
    yield* promised(async () => {
      await client.connect()
      await introduce(send, target)
    }).pipe(Effect.mapError((cause) => (client.status === "end" ? (told ?? cause) : cause)))
    return send
  })

/**
 * The driver's parser calls itself for each list in a list: one that is nested deep enough overflows the stack, in an
 * event of the socket, where an error ends the process. Here it ends the connection.
 */
const guardReplies = (stream: Redis["stream"]): void => {
  const emit = stream.emit.bind(stream) as (event: string | symbol, ...values: Array<unknown>) => boolean
  stream.emit = (event: string | symbol, ...values: Array<unknown>) => {
    try {
      return emit(event, ...values)
    } catch (error) {
      if (event !== "data") throw error
      stream.destroy(error as Error)
      return true
    }
  }
}

const newClient = (target: RedisTarget, address: RedisAddress, timeouts: RedisTimeouts): Redis =>
  new Redis({
    ...address,
    // Whatever addresses the name has, IPv6 included.
    family: 0,
    ...(target.tls ? { tls: {} } : {}),
    connectTimeout: timeouts.connectTimeoutMs,
    commandTimeout: timeouts.commandTimeoutMs,
    disconnectTimeout: 500,
    keepAlive: 10_000,
    lazyConnect: true,
    retryStrategy: null,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    // Both would send commands that a user may not be allowed; the first prints what it thinks of that.
    enableReadyCheck: false,
    disableClientInfo: true
  })

/**
 * Says who we are and which database is meant. The driver would do both by itself, but go on in database 0 when the
 * other one is refused, and print what it thinks of a password that is not needed.
 */
const introduce = async (send: Send, target: RedisTarget): Promise<void> => {
  // With a user name the server takes a password also where it needs none.
  if (target.password !== undefined) await send("AUTH", [target.username ?? "default", target.password])
  if (target.database === 0) return
  try {
    await send("SELECT", [target.database])
  } catch (error) {
    throw new Error(`database ${target.database} cannot be selected: ${messageOf(error)}`)
  }
}

/** All nodes that a cluster names; none when the user may not ask. */
const clusterNodes = async (send: Send, asked: string): Promise<ReadonlyArray<RedisAddress>> => {
  try {
    const ranges = (await send("CLUSTER", ["SLOTS"])) as ReadonlyArray<ReadonlyArray<unknown>>
    return ranges.flatMap((range) =>
      range.slice(2).flatMap((node) => {
        const [host, port] = node as [Buffer | null, number]
        const name = host === null ? "" : host.toString()
        return name === "?" ? [] : [{ host: name === "" ? asked : name, port }]
      })
    )
  } catch {
    return []
  }
}

/** Sockets of our own, one at a time, to the one server that holds the keys. */
export const ownSockets = (target: RedisTarget, keyPrefix: string, timeouts: RedisTimeouts): RedisSource => {
  /** Where to look for the keys, in turn; a cluster's own list once it has been seen. */
  let addresses = target.nodes
  let address = addresses[0]!
  let turn = 0
  let redirect: RedisAddress | undefined
  let redirections = 0
  return {
    keyPrefix,
    secrets: target.password === undefined ? [] : [target.password],
    places: () => addresses.length,
    open: (lost, epoch) =>
      Effect.gen(function* () {
        address = redirect ?? addresses[turn++ % addresses.length]!
        redirect = undefined
        const send = yield* openSocket(target, address, timeouts, lost)
        const greeting = yield* promised(() => greet(send, keyPrefix, epoch))
        if (target.cluster) {
          const nodes = yield* promised(() => clusterNodes(send, address.host))
          if (nodes.length > 0) addresses = nodes
        }
        redirections = 0
        return { send, primaries: () => [send], greeting }
      }),
    afterFailure: (problem) => {
      const moved = movedTo(problem, address.host)
      if (moved !== undefined && !target.cluster) {
        const said = `this is a node of a cluster, which needs redis-cluster:// (${problem})`
        return { problem: said, tryAtOnce: false }
      }
      redirect = redirections < mostRedirections ? moved : undefined
      redirections = redirect === undefined ? 0 : redirections + 1
      return { problem, tryAtOnce: redirect !== undefined }
    },
    comesBack: Effect.never
  }
}

/**
 * What is used of an ioredis `Redis` or `Cluster`; instances of any 5.x have it.
 *
 * @since 0.1.0
 * @category models
 */
export interface RedisClient {
  /** `ready`, `wait` (for its first command), or that there is no connection. */
  readonly status: string
  /** Sends a command; texts of the reply are buffers. */
  readonly callBuffer: (command: string, args: Array<string | number | Buffer>) => Promise<unknown>
  /** The connections to a cluster's nodes; a single server's client has none. */
  readonly nodes?: (role: "master") => ReadonlyArray<Pick<RedisClient, "callBuffer">>
  /** Adds a listener; the cache takes its own away again when it closes. */
  readonly on: (event: "close" | "ready", listener: () => void) => unknown
  /** Takes a listener away. */
  readonly off: (event: "close" | "ready", listener: () => void) => unknown
}

/** The driver bounds commands on sockets of our own, as in real time; on a client that we did not make we do. */
const bounded = <A>(call: Promise<A>, ms: number): Promise<A> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("Command timed out")), ms)
    call.then(resolve, reject).finally(() => clearTimeout(timer))
  })

const listening = (client: RedisClient, event: "close" | "ready", listener: () => void) =>
  Effect.acquireRelease(
    Effect.sync(() => client.on(event, listener)),
    () => Effect.sync(() => client.off(event, listener))
  )

/** The application's client, which makes its connection itself and is never closed by us. */
export const applicationClient = (
  client: RedisClient,
  keyPrefix: string,
  { commandTimeoutMs }: RedisTimeouts
): RedisSource => {
  const sendOver =
    (node: Pick<RedisClient, "callBuffer">): Send =>
    (command, args) =>
      bounded(node.callBuffer(command, [...args]), commandTimeoutMs)
  const send = sendOver(client)
  return {
    keyPrefix,
    secrets: [],
    places: () => 1,
    open: (lost, epoch) =>
      Effect.gen(function* () {
        yield* listening(client, "close", () => lost())
        const { status } = client
        if (status !== "ready" && status !== "wait") {
          return yield* Effect.fail(
            new Error(`Connection is closed: the application's client says ${status}`)
          )
        }
        const greeting = yield* promised(() => greet(send, keyPrefix, epoch))
        return { send, primaries: () => client.nodes?.("master").map(sendOver) ?? [send], greeting }
      }),
    afterFailure: (problem) => ({ problem, tryAtOnce: false }),
    comesBack: Effect.async<void>((resume) => {
      const ready = () => {
        client.off("ready", ready)
        resume(Effect.void)
      }
      client.on("ready", ready)
      return Effect.sync(() => client.off("ready", ready))
    })
  }
}
