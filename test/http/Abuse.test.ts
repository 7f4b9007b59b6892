import * as http from "node:http"
import { Effect } from "effect"
import { afterEach, describe, expect, it } from "vitest"
import { closeAll, eventually, type Harness, parse, sleep, start } from "./Harness.js"

afterEach(closeAll)

const alive = async ({ request }: Harness) => {
  expect((await request("/health/live")).status).toBe(200)
  expect((await request("/items/after", { method: "PUT", body: "x" })).status).toBeLessThan(300)
}

const bodyOf = (text: string): unknown => parse(text.slice(text.indexOf("\r\n\r\n") + 4))

describe("requests that are none", () => {
  const cases: ReadonlyArray<readonly [name: string, bytes: string, status: number, error: string]> = [
    ["noise", "\u0016\u0003\u0001\u0002\u0000\r\n\r\n", 400, "MalformedRequest"],
    ["an unknown protocol", "GET / SPDY/9\r\n\r\n", 400, "MalformedRequest"],
    ["a broken header", "GET /health/live HTTP/1.1\r\nHost localhost\r\n\r\n", 400, "MalformedRequest"],
    [
      "two lengths",
      "PUT /items/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
      400,
      "MalformedRequest"
    ],
    [
      "length and chunks",
      "PUT /items/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
      400,
      "MalformedRequest"
    ],
    [
      "a negative length",
      "PUT /items/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
      400,
      "MalformedRequest"
    ],
    [
      "endless headers",
      `GET /health/live HTTP/1.1\r\nHost: localhost\r\nX: ${"x".repeat(40_000)}\r\n\r\n`,
      431,
      "HeadersTooLarge"
    ],
    [
      "an endless path",
      `GET /items/${"x".repeat(40_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
      431,
      "HeadersTooLarge"
    ],
    [
      "an absolute target",
      "GET http://localhost/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
      400,
      "InvalidRequest"
    ],
    [
      "an asterisk",
      "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
      400,
      "InvalidRequest"
    ]
  ]
  for (const [name, bytes, status, error] of cases) {
    it(`${name} gets ${status} as JSON`, async () => {
      const server = await start()
      const text = await server.raw(bytes)
      expect(text).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
      expect(bodyOf(text)).toMatchObject({ error })
      await alive(server)
    })
  }

  it("a wish to upgrade is served as an ordinary request", async () => {
    const server = await start()
    const text = await server.raw(
      "GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
      "drain_requested"
    )
    expect(text).toMatch(/^HTTP\/1.1 200/)
    const written = await server.raw(
      "PUT /items/h2c HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc",
      "previous_version"
    )
    expect(written).toMatch(/^HTTP\/1.1 201/)
    expect((await server.request("/items/h2c")).text).toBe("abc")
    await alive(server)
  })

  it("a broken chunk in a body ends the request and nothing else", async () => {
    const server = await start()
    const text = await server.raw(
      "PUT /items/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n"
    )
    expect(text).toMatch(/^HTTP\/1.1 400/)
    expect(server.fake.calls).toEqual([])
    await alive(server)
  })
})

describe("slow and vanishing clients", () => {
  it("a body that does not come is given up", async () => {
    const server = await start({ requestTimeout: "300 millis", headersTimeout: "300 millis" })
    const text = await server.raw("PUT /items/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc")
    expect(text === "" || /^HTTP\/1.1 408/.test(text)).toBe(true)
    const headers = await server.raw("GET /health/live HTTP/1.1\r\nHost: local")
    expect(headers).toMatch(/^HTTP\/1.1 408/)
    expect(bodyOf(headers)).toMatchObject({ error: "RequestTimeout" })
    expect(server.fake.calls).toEqual([])
    await alive(server)
  })

  it("a client that breaks off its PUT has written nothing", async () => {
    const server = await start()
    const socket = await server.connect()
    socket.write(
      `PUT /items/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n${"x".repeat(50_000)}`
    )
    // A later request is answered: the server has seen what came before it.
    await server.request("/health/live")
    socket.destroy()
    await server.request("/health/live")
    expect(server.fake.calls).toEqual([])
    await alive(server)
  })

  it("a write whose client goes away after its last byte is done", async () => {
    const server = await start()
    const { fake } = server
    const latch = Effect.unsafeMakeLatch(false)
    fake.beforeWrite = latch.await
    for (const bytes of [
      "PUT /items/put HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx",
      "DELETE /items/delete HTTP/1.1\r\nHost: localhost\r\n\r\n",
      'POST /items HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: 27\r\n\r\n{"id":"batch","content":1}\n\n'
    ]) {
      const before = fake.calls.length
      const socket = await server.connect()
      socket.write(bytes)
      await eventually(() => fake.calls.length === before + 1)
      socket.destroy()
    }
    // Answered, so by now the server knows that nobody waits for these.
    await server.request("/health/live")
    await Effect.runPromise(latch.open)
    await eventually(() => fake.rows.size === 3)
    expect([...fake.rows.keys()].sort()).toEqual(["batch", "delete", "put"])
    await alive(server)
  })
})

describe("crowds", () => {
  it("5,000 requests at once are all answered", async () => {
    const server = await start()
    const agent = new http.Agent({ keepAlive: true, maxSockets: 500 })
    const statuses = new Map<number, number>()
    await Promise.all(
      Array.from({ length: 5_000 }, async (_, index) => {
        const path = `/items/i${index % 1_000}`
        const answer = await server.request(
          path,
          index % 2 === 0 ? { method: "PUT", body: String(index), agent } : { agent }
        )
        statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1)
      })
    )
    agent.destroy()
    const total = [...statuses.values()].reduce((sum, count) => sum + count, 0)
    expect(total).toBe(5_000)
    for (const status of statuses.keys()) expect([200, 201, 404]).toContain(status)
    await alive(server)
  }, 60_000)

  it("connections above the bound are closed, the others served", async () => {
    const server = await start({ maxConnections: 2 })
    const first = await server.connect()
    const second = await server.connect()
    const text = await server.raw("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    expect(text).toBe("")
    first.destroy()
    second.destroy()
    await sleep(50)
    await alive(server)
  })
})
