/** A TCP proxy between a client and its server, for what a network can do to both. */
import { connect, createServer, type Socket } from "node:net"
import { Effect, type Scope } from "effect"

export interface Proxy {
  readonly port: number
  /** From now on every connection passes so many more bytes of its server's answers, and swallows the rest. */
  readonly stallAnswersAfter: (bytes: number) => void
  /** From now on every connection passes its server's answers in drops, for ever below `bytesPerSecond`. */
  readonly trickleAnswers: (bytesPerSecond: number) => void
  /** The client's machine dies: what there is stays open on the server's side, and nothing passes any more. */
  readonly dieInSilence: () => void
  /** The server's machine dies: what there is stays open on the client's side, and nothing passes any more. */
  readonly loseServer: () => void
  /** From now on every connection passes so many more bytes of its server's answers, and is reset on both sides. */
  readonly resetAfter: (bytes: number) => void
  /** Both directions are late by so much. */
  readonly delay: (ms: number) => void
  /** Both directions pass no more than that. */
  readonly limitRate: (bytesPerSecond: number) => void
  /** Nothing passes, and nobody hears of it. What was sent meanwhile arrives when that is mended. */
  readonly blackHole: () => void
  /** What there is ends, and new connections go to another server. */
  readonly leadTo: (port: number) => void
  /** New connections are served again as they should be, and what has been held back passes. */
  readonly mend: () => void
}

/** How traffic passes now. */
interface Weather {
  left: number | undefined
  resets: boolean
  delayMs: number
  /** Undefined for no bound. */
  rate: number | undefined
  drops: boolean
  hole: boolean
}

const fair: Weather = {
  left: undefined,
  resets: false,
  delayMs: 0,
  rate: undefined,
  drops: false,
  hole: false
}

interface Waiting {
  readonly bytes: Buffer
  readonly at: number
}

/** One direction of a connection: what is under way, in order. */
class Lane {
  private readonly waiting: Array<Waiting> = []
  private timer: ReturnType<typeof setTimeout> | undefined
  private last = 0

  constructor(
    private readonly weather: Weather,
    private readonly arrive: (bytes: Buffer) => void
  ) {}

  take(bytes: Buffer): void {
    const { delayMs, drops, rate } = this.weather
    const size = drops ? 1 : bytes.length
    for (let from = 0; from < bytes.length; from += size) {
      const part = bytes.subarray(from, from + size)
      const took = rate === undefined ? 0 : (part.length / rate) * 1_000
      this.last = Math.max(this.last, performance.now() + delayMs) + took
      this.waiting.push({ bytes: part, at: this.last })
    }
    this.pass()
  }

  pass(): void {
    clearTimeout(this.timer)
    while (!this.weather.hole && this.waiting.length > 0) {
      const wait = this.waiting[0]!.at - performance.now()
      if (wait > 0) {
        this.timer = setTimeout(() => this.pass(), wait)
        return
      }
      this.arrive(this.waiting.shift()!.bytes)
    }
  }

  end(): void {
    clearTimeout(this.timer)
    this.waiting.length = 0
  }
}

/** One connection through the proxy. */
class Pair {
  left: number | undefined
  resets: boolean
  /** One of its sides is lost in silence. */
  private dead = false
  private readonly server: Socket
  private readonly there: Lane
  private readonly back: Lane

  constructor(
    private readonly client: Socket,
    target: number,
    weather: Weather,
    private readonly gone: () => void
  ) {
    this.left = weather.left
    this.resets = weather.resets
    this.server = connect(target, "127.0.0.1")
    this.there = new Lane(weather, (bytes) => this.server.write(bytes))
    this.back = new Lane(weather, (bytes) => this.answer(bytes))
    client.on("data", (bytes) => this.dead || this.there.take(bytes))
    this.server.on("data", (bytes) => this.dead || this.back.take(bytes))
    for (const socket of [client, this.server]) {
      socket.on("error", () => this.close())
      // In a black hole no end is heard of either.
      socket.on("close", () => (weather.hole ? undefined : this.close()))
    }
  }

  private answer(bytes: Buffer): void {
    const passing = this.left === undefined ? bytes : bytes.subarray(0, this.left)
    if (passing.length > 0) this.client.write(passing)
    if (this.left === undefined) return
    this.left -= passing.length
    if (this.left > 0 || !this.resets) return
    this.client.resetAndDestroy()
    this.server.resetAndDestroy()
  }

  private close(): void {
    if (!this.dead) this.end()
  }

  loseClient(): void {
    this.dead = true
    this.client.destroy()
  }

  loseServer(): void {
    this.dead = true
    this.server.destroy()
  }

  /** Goes on, unless bytes are lost already. */
  mend(): void {
    if (this.left !== 0) this.left = undefined
    this.there.pass()
    this.back.pass()
    if (this.client.destroyed || this.server.destroyed) this.close()
  }

  end(): void {
    this.there.end()
    this.back.end()
    this.client.destroy()
    this.server.destroy()
    this.gone()
  }
}

/** The proxy as such; `proxyTo` is one of a scope. */
export const openProxy = (target: number): Promise<Proxy & { readonly close: () => void }> => {
  const pairs = new Set<Pair>()
  const weather: Weather = { ...fair }
  let to = target
  const listener = createServer((client) => {
    const pair = new Pair(client, to, weather, () => pairs.delete(pair))
    pairs.add(pair)
  })
  const cutAfter = (bytes: number, resets: boolean) => {
    weather.left = bytes
    weather.resets = resets
    for (const pair of pairs) {
      pair.left = bytes
      pair.resets = resets
    }
  }
  return new Promise((resolve) =>
    listener.listen(0, "127.0.0.1", () =>
      resolve({
        port: (listener.address() as { port: number }).port,
        stallAnswersAfter: (bytes) => cutAfter(bytes, false),
        resetAfter: (bytes) => cutAfter(bytes, true),
        trickleAnswers: (rate) => Object.assign(weather, { rate, drops: true }),
        delay: (delayMs) => Object.assign(weather, { delayMs }),
        limitRate: (rate) => Object.assign(weather, { rate, drops: false }),
        blackHole: () => Object.assign(weather, { hole: true }),
        dieInSilence: () => {
          for (const pair of pairs) pair.loseClient()
        },
        loseServer: () => {
          for (const pair of pairs) pair.loseServer()
        },
        leadTo: (port) => {
          to = port
          for (const pair of pairs) pair.end()
        },
        mend: () => {
          Object.assign(weather, fair)
          for (const pair of pairs) pair.mend()
        },
        close: () => {
          listener.close()
          for (const pair of pairs) pair.end()
        }
      })
    )
  )
}

export const proxyTo = (target: number): Effect.Effect<Proxy, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(() => openProxy(target)),
    (proxy) => Effect.sync(() => proxy.close())
  )
