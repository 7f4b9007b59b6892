/** A server that replies nonsense is an unavailable cache, or an empty one: no defect, no hang, no memory. */

import { createServer, type Socket } from "node:net"
import { Cause, Deferred, Duration, Effect, Exit, Fiber, Option, Redacted, Stream } from "effect"
import { describe, expect, it, vi } from "vitest"
import { leavesScript } from "../../src/cache/ReadScripts.js"
import { make } from "../../src/cache/RedisCache.js"
import { RedisConnection } from "../../src/cache/RedisConnection.js"
import { StatusFeed } from "../../src/cache/StatusFeed.js"
import { greetScript } from "../../src/cache/WriteScripts.js"
import { numbers } from "../archive/records.js"
import { recordOf } from "./records.js"

vi.setConfig({ testTimeout: 300_000 })

const bulk = (text: string) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`
const list = (...replies: ReadonlyArray<string>) => `*${replies.length}\r\n${replies.join("")}`

const info = "run_id:1\nmaster_replid:2\nmaxmemory_policy:noeviction"
const greeting = list(...["sync-engine:", "00000001", "", info, ""].map(bulk))

/** What stands for the reply to every command; nothing: the server hangs up. */
const replies: Readonly<Record<string, string | Buffer | undefined>> = {
  "hangs up": undefined,
  "OK to everything": "+OK\r\n",
  "an empty text": bulk(""),
  "no text": "$-1\r\n",
  "no list": "*-1\r\n",
  "an empty list": "*0\r\n",
  "a number": ":7\r\n",
  "a number out of all bounds": `:${"9".repeat(400)}\r\n`,
  "a list of numbers": list(...Array.from({ length: 60 }, (_, n) => `:${n}\r\n`)),
  "a list of texts": list(...Array.from({ length: 60 }, (_, n) => bulk(`x${n}`))),
  "lists of lists": list(...Array.from({ length: 60 }, () => list(bulk("a"), ":1\r\n", list("*-1\r\n")))),
  "lists of errors": list(...Array.from({ length: 60 }, () => "-ERR no\r\n")),
  "lists of nothing": list(...Array.from({ length: 60 }, () => list("$-1\r\n", "$-1\r\n"))),
  "an error": "-ERR nonsense\r\n",
  "an error without a word": "-\r\n",
  "a text of a terabyte": "$1099511627776\r\nabc",
  "a text of less than nothing": "$-77\r\n",
  "a list of billions": "*4000000000\r\n",
  "a text that is cut off": "$100\r\nabc\r\n",
  "a list that is longer than any": "*4294967296\r\n",
  "a deep list": "*1\r\n".repeat(5_000),
  "three replies for one": "+a\r\n+b\r\n+c\r\n",
  "another protocol": "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
  "the next version of the protocol": "%1\r\n+a\r\n:1\r\n",
  "noise without an end": "+".padEnd(100_000, "x")
}

/** The commands in what a client has sent at once. */
const commandsIn = (text: string): ReadonlyArray<string> => text.split(/(?=\*\d+\r\n\$)/)

/** What a server replies to a command; nothing: it hangs up. */
type Reply = (command: string) => string | Buffer | undefined

const serving = (reply: Reply) =>
  Effect.acquireRelease(
    Effect.async<{ readonly port: number; readonly close: () => void }>((resume) => {
      const sockets = new Set<Socket>()
      const server = createServer((socket) => {
        sockets.add(socket)
        socket.on("error", () => {})
        socket.on("data", (chunk) => {
          for (const command of commandsIn(chunk.toString("latin1"))) {
            const bytes = reply(command)
            if (bytes === undefined) socket.end()
            else if (socket.writable) socket.write(bytes)
          }
        })
      })
      server.listen(0, "127.0.0.1", () =>
        resume(
          Effect.succeed({
            port: (server.address() as { readonly port: number }).port,
            close: () => {
              server.close()
              for (const socket of sockets) socket.destroy()
            }
          })
        )
      )
    }),
    ({ close }) => Effect.sync(close)
  )

const records = Array.from({ length: 5 }, (_, n) => recordOf(`a.${n}`, 1))
const ids = records.map(({ id }) => id)

const cacheAt = (port: number, commandTimeoutMs = 50) =>
  make({
    url: Redacted.make(`redis://127.0.0.1:${port}`),
    connectTimeout: Duration.millis(4 * commandTimeoutMs),
    commandTimeout: Duration.millis(commandTimeoutMs),
    maxReconnectDelay: Duration.millis(20),
    coolDown: Duration.millis(20)
  })

/** Every call ends, as it should or with a `CacheError`; returns how many did which. */
const callsOf = (reply: Reply) =>
  Effect.gen(function* () {
    let served = 0
    // Nobody asks again and again for what does not come.
    const tooOften = yield* Deferred.make<never, Error>()
    const { port } = yield* serving((command) => {
      if (++served === 400) Deferred.unsafeDone(tooOften, Exit.fail(new Error("asked again and again")))
      return reply(command)
    })
    return yield* Effect.raceFirst(callsTo(port), Deferred.await(tooOften))
  }).pipe(Effect.scoped)

const callsTo = (port: number) =>
  Effect.gen(function* () {
    const cache = yield* cacheAt(port)
    yield* Effect.ignore(cache.connect)
    const ended = { right: 0, failed: 0 }
    const calls: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
      cache.get("a.1"),
      cache.getMany(ids),
      cache.heads(ids),
      cache.put(records),
      cache.deleteMany([{ id: "a.1", version: 1 }]),
      cache.root,
      cache.children("", { after: undefined, limit: 5_000 }),
      cache.branches("", { limit: 5_000 }),
      cache.leaves("", { limit: 5_000 }),
      cache.leafSum("", {}),
      cache.claim("lineage", 1000),
      cache.readChanges("", 10),
      cache.tidy,
      cache.rebuildTree,
      cache.reset
    ]
    for (const call of calls) {
      const exit = yield* Effect.exit(call)
      if (Exit.isSuccess(exit)) ended.right++
      else {
        expect(Cause.isDie(exit.cause), Cause.pretty(exit.cause)).toBe(false)
        expect((Cause.squash(exit.cause) as { readonly _tag?: string })._tag).toBe("CacheError")
        ended.failed++
      }
    }
    expect(ended.right + ended.failed).toBe(calls.length)
    return ended
  })

const isGreeting = (command: string) => command.includes(greetScript.sha)

describe("a connection that is lost", () => {
  /** What is shown at the moment at which it is lost; the server greets until it is asked, and replies so from then on. */
  const lossOf = (calls: number, reply: string | undefined) =>
    Effect.gen(function* () {
      let asked = false
      const { port } = yield* serving((command) => {
        asked ||= !isGreeting(command)
        return asked ? reply : greeting
      })
      const cache = yield* cacheAt(port, 300)
      // A busy machine may greet late.
      yield* Effect.retry(cache.connect, { times: 50 })
      const lost = Stream.filter(cache.changes, ({ connection }) => connection === "reconnecting")
      const shown = yield* Effect.fork(Stream.runHead(lost))
      yield* Effect.replicateEffect(Effect.flip(cache.root), calls, { concurrency: "unbounded" })
      return Option.getOrThrow(yield* Fiber.join(shown)).lastError
    }).pipe(Effect.scoped, Effect.runPromise)

  it("says so also when the server went away in order", async () => {
    expect(await lossOf(1, undefined)).toBe("the connection was lost")
  })

  it("says why it was given up", async () => {
    expect(await lossOf(5, "")).toBe("Command timed out")
  })
})

describe("a Redis that replies", () => {
  for (const [name, reply] of Object.entries(replies)) {
    it(`${name}: from the first word on, and once it was believed`, async () => {
      const before = process.memoryUsage().rss
      await Effect.runPromise(callsOf(() => reply))
      await Effect.runPromise(callsOf((command) => (isGreeting(command) ? greeting : reply)))
      expect(process.memoryUsage().rss - before).toBeLessThan(300 * 1024 * 1024)
    })
  }

  it("noise", async () => {
    const below = numbers(31)
    const noise = () => {
      const sort = "+-:$*_,%~"[below(9)]!
      const bytes = Array.from({ length: below(30) }, () => below(256))
      return Buffer.concat([Buffer.from(`${sort}${below(40) - 3}\r\n`), Buffer.from(bytes)])
    }
    let failed = 0
    for (let round = 0; round < 10; round++) {
      failed += (await Effect.runPromise(callsOf((command) => (isGreeting(command) ? greeting : noise()))))
        .failed
    }
    expect(failed).toBeGreaterThan(10)
  })
})

describe("a list without an end", () => {
  const page = (cursor: number) => list(bulk(String(cursor)), "*0\r\n")

  /** Asked more often than this, a server of these hangs up. */
  const patience = 100

  /** How a rebuild ends where the server replies so to each step of a `SCAN`. */
  const scannedAs = (next: (step: number) => number) =>
    Effect.gen(function* () {
      let step = 0
      const { port } = yield* serving((command) =>
        isGreeting(command)
          ? greeting
          : !command.includes("SCAN")
            ? ":1\r\n"
            : step < patience
              ? page(next(step++))
              : undefined
      )
      const cache = yield* cacheAt(port, 10_000)
      yield* cache.connect
      const { kind, problem } = yield* Effect.flip(cache.rebuildTree)
      return { kind, problem, steps: step }
    }).pipe(Effect.scoped, Effect.runPromise)

  const endless = { kind: "malformed", problem: "the server's SCAN does not end" }

  it("of keys, where the cursor stands still or goes round, is a failure", async () => {
    expect(await scannedAs(() => 7)).toEqual({ ...endless, steps: 2 })
    const round = await scannedAs((step) => (step < 10 ? 1_000 + step : 1 + (step % 10)))
    expect(round).toMatchObject(endless)
    expect(round.steps).toBeLessThan(50)
  })

  it("of items, where the reply to a read is none, is a failure at once", () =>
    Effect.gen(function* () {
      let asked = 0
      const { port } = yield* serving((command) =>
        isGreeting(command) ? greeting : ++asked > patience ? undefined : ":7\r\n"
      )
      const cache = yield* cacheAt(port, 10_000)
      yield* cache.connect
      expect((yield* Effect.flip(cache.getMany(ids))).kind).toBe("malformed")
      expect(asked).toBe(1)
    }).pipe(Effect.scoped, Effect.runPromise))

  it("of keys is a failure behind the last step that any server can need", () =>
    Effect.gen(function* () {
      let step = 0
      const send = () => Promise.resolve([Buffer.from(String(++step % 2_000)), []])
      const feed = yield* StatusFeed.make("connecting", 0)
      const session = {
        send,
        primaries: () => [send],
        greeting: { seen: { epoch: "", server: "" }, prefix: "", warnings: [] }
      }
      const connection = yield* RedisConnection.make(
        {
          keyPrefix: "",
          secrets: [],
          places: () => 1,
          open: () => Effect.succeed(session),
          afterFailure: (problem) => ({ problem, tryAtOnce: false }),
          comesBack: Effect.never
        },
        {
          commandTimeoutMs: 1_000,
          maxReconnectDelayMs: 1_000,
          failureThreshold: 1,
          coolDownMs: 1e9,
          nextEpoch: () => ""
        },
        feed
      )
      yield* connection.connect
      const scan = connection.scan("rebuild", "item:", () => Effect.succeed("more"), 1_000)
      expect(yield* Effect.flip(scan)).toMatchObject(endless)
      expect(step).toBe(1_000)
    }).pipe(Effect.scoped, Effect.runPromise))

  it("of children or leaves that does not go forward, or goes down for ever, ends", () =>
    Effect.gen(function* () {
      const names = Array.from({ length: 1_000 }, (_, n) => bulk(`n${n}`))
      const nothing = "*0\r\n"
      const bulkOfNode = bulk("\0".repeat(40))
      let asked = 0
      const { port } = yield* serving((command) => {
        if (isGreeting(command)) return greeting
        if (++asked > patience) return undefined
        if (command.includes(leavesScript.sha)) return bulk("\0\x01n\0\0".repeat(1_000))
        return list(list(...names), list(...names.map(() => bulkOfNode)), nothing, nothing)
      })
      const cache = yield* cacheAt(port, 10_000)
      yield* cache.connect
      expect(yield* cache.branches("", { limit: 5_000 })).toHaveLength(1_000)
      expect(yield* cache.children("a".repeat(255), { after: undefined, limit: 5_000 })).toEqual([])
      yield* cache.leafSum("", {})
      expect(asked).toBe(5)
    }).pipe(Effect.scoped, Effect.runPromise))
})
