import * as http from "node:http"
import { Effect, Stream } from "effect"
import { afterEach, describe, expect, it } from "vitest"
import { closeAll, eventually, send, sleep, start } from "./Harness.js"

afterEach(closeAll)

const timed = async (run: () => Promise<unknown>): Promise<number> => {
  const startedAt = performance.now()
  await run()
  return performance.now() - startedAt
}

describe("closing the server", () => {
  it("does not wait for idle keep-alive connections", async () => {
    const { close, url } = await start({ closeTimeout: "10 seconds" })
    const agent = new http.Agent({ keepAlive: true })
    const answers = await Promise.all(Array.from({ length: 8 }, () => send(`${url}/health/live`, { agent })))
    expect(answers.every(({ headers }) => headers.connection === "keep-alive")).toBe(true)
    expect(await timed(close)).toBeLessThan(2_000)
    agent.destroy()
  })

  it("lets a request that runs end, and answers it", async () => {
    const { close, fake, request } = await start({ closeTimeout: "10 seconds" })
    const latch = Effect.unsafeMakeLatch(false)
    fake.beforeWrite = latch.await
    const agent = new http.Agent({ keepAlive: true })
    const write = request("/items/a", { method: "PUT", body: "x", agent })
    await eventually(() => fake.calls.length === 1)
    let closed = false
    const closing = close().then(() => {
      closed = true
    })
    await expect(request("/health/live")).rejects.toThrow(/ECONNREFUSED/)
    expect(closed).toBe(false)
    await Effect.runPromise(latch.open)
    const answer = await write
    expect(answer.status).toBe(201)
    expect(answer.headers.connection).toBe("close")
    expect(await timed(() => closing)).toBeLessThan(2_000)
    agent.destroy()
  })

  it("closes a connection once the stream that it carries has ended", async () => {
    const { close, fake, url } = await start({ closeTimeout: "10 seconds" })
    const service = fake.service as { scanPrefix: unknown }
    const latch = Effect.unsafeMakeLatch(false)
    await Effect.runPromise(fake.service.submit({ id: "a", content: "1" }))
    const item = await Effect.runPromise(Effect.flatten(fake.service.get("a")))
    service.scanPrefix = () => Stream.concat(Stream.make(item), Stream.execute(latch.await))
    const agent = new http.Agent({ keepAlive: true })
    const streaming = send(`${url}/items`, { agent })
    await eventually(() => Object.keys(agent.sockets).length === 1)
    await sleep(100)
    const closing = timed(close)
    await sleep(100)
    await Effect.runPromise(latch.open)
    const answer = await streaming
    expect(answer.headers.connection).toBe("keep-alive")
    expect(answer.text).toContain('"next_after"')
    expect(await closing).toBeLessThan(3_000)
    agent.destroy()
  })

  it("ends what hangs at its deadline: a stuck reader, a slow writer, a silent connection", async () => {
    const { close, connect, fake } = await start({ closeTimeout: "300 millis" })
    const service = fake.service as { scanPrefix: unknown }
    let finished = false
    let produced = 0
    service.scanPrefix = () =>
      Stream.repeatEffect(
        Effect.sync(() => {
          produced += 1
          return {
            id: "a",
            version: 1,
            updatedAt: 1,
            contentType: "binary" as const,
            contentHash: "",
            state: undefined,
            content: new Uint8Array(64 * 1024),
            traceparent: undefined
          }
        })
      ).pipe(
        Stream.ensuring(
          Effect.sync(() => {
            finished = true
          })
        )
      )
    const reader = await connect()
    reader.pause()
    reader.write("GET /items?limit=10000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    const writer = await connect()
    writer.write("PUT /items/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc")
    await connect()
    await eventually(() => produced > 1)
    const duration = await timed(close)
    expect(duration).toBeGreaterThan(250)
    expect(duration).toBeLessThan(3_000)
    await eventually(() => finished)
    expect(fake.calls.some(({ name }) => name === "submit")).toBe(false)
  })

  it("asks clients to go while it drains", async () => {
    const { lifecycle, url } = await start()
    const agent = new http.Agent({ keepAlive: true })
    expect((await send(`${url}/items/a`, { agent })).headers.connection).toBe("keep-alive")
    await Effect.runPromise(lifecycle.beginDrain)
    expect((await send(`${url}/items/a`, { agent })).headers.connection).toBe("close")
    agent.destroy()
  })

  it("leaves the port free for the next server", async () => {
    const first = await start()
    const { port } = first
    await first.close()
    const second = await start({ port })
    expect(second.port).toBe(port)
    expect((await second.request("/health/live")).status).toBe(200)
  })
})
