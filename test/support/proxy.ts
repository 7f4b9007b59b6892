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
  /** New connections are served again as they should be. */
  readonly mend: () => void
}

interface Pair {
  readonly client: Socket
  readonly server: Socket
  /** Answers still to pass; undefined for all. */
  left: number | undefined
  drops: ReturnType<typeof setInterval> | undefined
  dead: boolean
}

export const proxyTo = (target: number): Effect.Effect<Proxy, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.async<Proxy & { readonly close: () => void }>((resume) => {
      const pairs = new Set<Pair>()
      let left: number | undefined
      let rate: number | undefined

      const trickle = (pair: Pair, waiting: Array<Buffer>) => {
        pair.drops ??= setInterval(() => {
          const next = waiting.shift()
          if (next === undefined) return
          pair.client.write(next.subarray(0, 1))
          if (next.length > 1) waiting.unshift(next.subarray(1))
        }, 1_000 / rate!)
      }

      const listener = createServer((client) => {
        const server = connect(target, "127.0.0.1")
        const pair: Pair = { client, server, left, drops: undefined, dead: false }
        pairs.add(pair)
        const waiting: Array<Buffer> = []
        client.on("data", (chunk) => {
          if (!pair.dead) server.write(chunk)
        })
        server.on("data", (chunk) => {
          if (pair.dead) return
          if (rate !== undefined || pair.drops !== undefined) {
            waiting.push(chunk)
            trickle(pair, waiting)
            return
          }
          const passing = pair.left === undefined ? chunk : chunk.subarray(0, pair.left)
          if (pair.left !== undefined) pair.left -= passing.length
          if (passing.length > 0) client.write(passing)
        })
        const close = () => {
          if (pair.dead) return
          clearInterval(pair.drops)
          pairs.delete(pair)
          client.destroy()
          server.destroy()
        }
        for (const socket of [client, server]) {
          socket.on("error", close)
          socket.on("close", close)
        }
      })
      listener.listen(0, "127.0.0.1", () =>
        resume(
          Effect.succeed({
            port: (listener.address() as { port: number }).port,
            stallAnswersAfter: (bytes) => {
              left = bytes
              for (const pair of pairs) pair.left = bytes
            },
            trickleAnswers: (bytesPerSecond) => {
              rate = bytesPerSecond
            },
            dieInSilence: () => {
              for (const pair of pairs) {
                pair.dead = true
                pair.client.destroy()
              }
            },
            mend: () => {
              left = undefined
              rate = undefined
            },
            close: () => {
              listener.close()
              for (const { client, drops, server } of pairs) {
                clearInterval(drops)
                client.destroy()
                server.destroy()
              }
            }
          })
        )
      )
    }),
    (proxy) => Effect.sync(() => proxy.close())
  )
