import { Effect, FastCheck as fc } from "effect"
import { afterEach, describe, expect, it } from "vitest"
import * as Errors from "../../src/EngineError.js"
import { contentHashOf, idProblem } from "../../src/SyncItem.js"
import { startedAtMs } from "./FakeEngine.js"
import { closeAll, eventually, sleep, start } from "./Harness.js"

afterEach(closeAll)

const json = { "content-type": "application/json" }
const put = (body: string | Uint8Array, headers: Record<string, string> = {}) => ({
  method: "PUT",
  body,
  headers
})

describe("PUT and GET", () => {
  it("keep the exact bytes", async () => {
    const { request } = await start()
    const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, index) => (index * 31) % 256))
    const written = await request("/items/a.b", put(bytes))
    expect(written.status).toBe(201)
    expect(written.headers.etag).toBe('"1"')
    expect(written.json).toEqual({
      id: "a.b",
      version: 1,
      content_hash: contentHashOf(bytes),
      durability: "wal",
      previous_version: null,
      compared: true
    })
    const read = await request("/items/a.b")
    expect(read.status).toBe(200)
    expect(read.body.equals(bytes)).toBe(true)
    expect(read.headers).toMatchObject({
      etag: '"1"',
      "content-type": "application/octet-stream",
      "content-length": "70000",
      "last-modified": new Date(startedAtMs).toUTCString(),
      "cache-control": "no-cache",
      "x-content-type-options": "nosniff",
      "x-sync-version": "1",
      "x-sync-updated-at": String(startedAtMs),
      "x-sync-content-hash": contentHashOf(bytes)
    })
    expect(read.headers["x-sync-state"]).toBeUndefined()
    const again = await request("/items/a.b", put('{ "a" : 1 }', json))
    expect(again.status).toBe(200)
    expect(again.json).toMatchObject({ version: 2, previous_version: 1 })
    const second = await request("/items/a.b")
    expect(second.text).toBe('{ "a" : 1 }')
    expect(second.headers["content-type"]).toBe("application/json")
  })

  it("take empty and chunked bodies", async () => {
    const { raw, request } = await start()
    expect((await request("/items/empty", put(""))).status).toBe(201)
    expect((await request("/items/empty")).body).toHaveLength(0)
    const text = await raw(
      "PUT /items/c HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
    )
    expect(text).toMatch(/^HTTP\/1.1 201/)
    expect((await request("/items/c")).text).toBe("abcdefg")
  })

  it("hold the content to the type that the client says", async () => {
    const { fake, request } = await start()
    for (const type of ["application/json", "Application/JSON; charset=utf-8", "application/geo+json"]) {
      const answer = await request("/items/a", put("{nope", { "content-type": type }))
      expect(answer.status, type).toBe(400)
      expect(answer.json).toMatchObject({ error: "InvalidItem", field: "content" })
    }
    expect((await request("/items/a", put("", json))).status).toBe(400)
    expect((await request("/items/a", put(Buffer.from([0x22, 0xff, 0x22]), json))).status).toBe(400)
    expect(fake.rows.size).toBe(0)
    expect((await request("/items/a", put("{nope", { "content-type": "text/plain" }))).status).toBe(201)
    expect((await request("/items/a")).headers["content-type"]).toBe("application/octet-stream")
    expect((await request("/items/b", put("[1]"))).status).toBe(201)
    expect((await request("/items/b")).headers["content-type"]).toBe("application/json")
    const coded = await request("/items/a", put("x", { "content-encoding": "gzip" }))
    expect(coded.status).toBe(415)
    expect(coded.json).toMatchObject({ error: "UnsupportedMediaType", header: "Content-Encoding" })
  })

  it("are whole: a part of one is refused", async () => {
    const { fake, request } = await start()
    const part = await request("/items/a", put("x", { "content-range": "bytes 0-0/5" }))
    expect(part.status).toBe(400)
    expect(part.json).toMatchObject({ error: "InvalidRequest", argument: "Content-Range" })
    expect(fake.calls).toEqual([])
  })

  it("carry state, own version, trace context and options", async () => {
    const { fake, request } = await start()
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    const state = "à faire/½"
    const answer = await request(
      "/items/a?durability=memory&sql=true&ttl_seconds=90",
      put("x", { "x-sync-version": "41", "x-sync-state": encodeURIComponent(state), traceparent })
    )
    expect(answer.status).toBe(201)
    expect(answer.json).toMatchObject({ version: 41, durability: "memory" })
    const read = await request("/items/a")
    expect(read.headers).toMatchObject({
      "x-sync-state": encodeURIComponent(state),
      traceparent,
      etag: '"41"'
    })
    const [item, options] = fake.calls[0]!.arguments
    expect(item).toMatchObject({ id: "a", version: 41, state, traceparent })
    expect(options).toMatchObject({
      durability: "memory",
      sql: true,
      expectedVersion: undefined
    })
    expect(String((options as { ttl: unknown }).ttl)).toContain("Duration")
  })

  it("drop a trace context that is not valid instead of refusing the write", async () => {
    const { fake, request } = await start()
    expect((await request("/items/a", put("x", { traceparent: "junk" }))).status).toBe(201)
    expect(fake.rows.get("a")?.traceparent).toBeUndefined()
  })

  it("answer 304 for a version the client has", async () => {
    const { request } = await start()
    await request("/items/a", put("x"))
    for (const tag of ['"1"', 'W/"1"', '"9", "1"', "*"]) {
      const answer = await request("/items/a", { headers: { "if-none-match": tag } })
      expect(answer.status).toBe(304)
      expect(answer.headers.etag).toBe('"1"')
      expect(answer.body).toHaveLength(0)
    }
    expect((await request("/items/a", { headers: { "if-none-match": '"2"' } })).status).toBe(200)
  })

  it("answer HEAD with GET's headers and no body", async () => {
    const { request } = await start()
    await request("/items/a", put("hello"))
    const get = await request("/items/a")
    const head = await request("/items/a", { method: "HEAD" })
    expect(head.status).toBe(200)
    expect(head.body).toHaveLength(0)
    expect({ ...head.headers, date: "" }).toEqual({ ...get.headers, date: "" })
    expect((await request("/items/none", { method: "HEAD" })).status).toBe(404)
  })

  it("verify on request", async () => {
    const { fake, request } = await start()
    await request("/items/a", put("x"))
    expect((await request("/items/a?verified=true")).status).toBe(200)
    expect(fake.calls.map(({ name }) => name)).toEqual(["submit", "getVerified"])
    fake.readFailure = new Errors.CorruptItem({ id: "a", version: 1, expectedHash: "x", actualHash: "y" })
    const answer = await request("/items/a?verified=true")
    expect(answer.status).toBe(500)
    expect(answer.json).toMatchObject({ error: "CorruptItem", expected_hash: "x" })
  })
})

describe("absence", () => {
  it("is 404 only when it was proven", async () => {
    const { fake, request } = await start()
    const absent = await request("/items/none")
    expect(absent.status).toBe(404)
    expect(absent.json).toEqual({ error: "NotFound", message: 'no item "none"', id: "none" })
    fake.readFailure = new Errors.TierUnavailable({
      tier: "archive",
      operation: "get",
      problem: "down",
      retryAfterMs: 1_000
    })
    const unknown = await request("/items/none")
    expect(unknown.status).toBe(503)
    expect(unknown.headers["retry-after"]).toBe("1")
  })
})

describe("DELETE", () => {
  it("answers 204 with the tombstone's version, whether it was there or not", async () => {
    const { request } = await start()
    await request("/items/a", put("x"))
    const deleted = await request("/items/a", { method: "DELETE" })
    expect(deleted.status).toBe(204)
    expect(deleted.headers.etag).toBe('"2"')
    expect(deleted.body).toHaveLength(0)
    expect((await request("/items/a")).status).toBe(404)
    expect((await request("/items/never", { method: "DELETE" })).status).toBe(204)
  })

  it("compares and sets", async () => {
    const { request } = await start()
    await request("/items/a", put("x"))
    const failed = await request("/items/a", { method: "DELETE", headers: { "if-match": '"7"' } })
    expect(failed.status).toBe(412)
    expect(failed.json).toMatchObject({ error: "VersionMismatch", expected: 7, actual: 1 })
    expect(
      (await request("/items/a", { method: "DELETE", headers: { "if-match": '"1"', "x-sync-version": "5" } }))
        .headers.etag
    ).toBe('"5"')
  })
})

describe("compare-and-set", () => {
  it("writes over the expected version only", async () => {
    const { request } = await start()
    expect((await request("/items/a", put("1", { "if-match": '"1"' }))).status).toBe(412)
    expect((await request("/items/a", put("1", { "if-none-match": "*" }))).status).toBe(201)
    expect((await request("/items/a", put("2", { "if-none-match": "*" }))).status).toBe(412)
    expect((await request("/items/a", put("2", { "if-match": '"1"' }))).status).toBe(200)
    expect((await request("/items/a", put("3", { "if-match": '"1"' }))).status).toBe(412)
    expect((await request("/items/a")).text).toBe("2")
  })

  it("refuses preconditions it does not know", async () => {
    const { fake, request } = await start()
    for (const headers of [
      { "if-match": "*" },
      { "if-match": 'W/"1"' },
      { "if-match": "1" },
      { "if-match": '"1", "2"' },
      { "if-none-match": '"1"' },
      { "if-match": '"1"', "if-none-match": "*" }
    ]) {
      const answer = await request("/items/a", put("1", headers as unknown as Record<string, string>))
      expect(answer.status, JSON.stringify(headers)).toBe(400)
      expect(answer.json).toMatchObject({ error: "InvalidRequest" })
    }
    expect(fake.calls).toEqual([])
  })

  it("refuses an own version that is too old with 409", async () => {
    const { request } = await start()
    await request("/items/a", put("1", { "x-sync-version": "9" }))
    const answer = await request("/items/a", put("1", { "x-sync-version": "8" }))
    expect(answer.status).toBe(409)
    expect(answer.json).toMatchObject({ error: "VersionConflict", submitted: 8, current: 9 })
    for (const version of ["0", "05", "-1", "1.5", "x", "", "9007199254740992", "1, 2"]) {
      expect((await request("/items/a", put("1", { "x-sync-version": version }))).status, version).toBe(400)
    }
    const beyond = await request("/items/a", put("1", { "x-sync-version": "7881299347898368" }))
    expect([beyond.status, beyond.text]).toEqual([400, expect.stringContaining("from 1 to 7881299347898367")])
  })
})

describe("ids and parameters", () => {
  it("come through the path unchanged, whatever they hold", async () => {
    const { fake, request } = await start()
    const ids = [
      "a/b",
      "a%2Fb",
      "a;b",
      "a?b",
      "a#b",
      "a+b",
      "a b",
      "%",
      "User.1",
      "user.1",
      "üser.1",
      "\u{1F600}.x",
      "a//b",
      "/",
      "x".repeat(255),
      "__proto__",
      "constructor"
    ]
    for (const id of ids) {
      expect((await request(`/items/${encodeURIComponent(id)}`, put(id))).status, id).toBe(201)
    }
    expect([...fake.rows.keys()].sort()).toEqual([...ids].sort())
    for (const id of ids) expect((await request(`/items/${encodeURIComponent(id)}`)).text).toBe(id)
    expect((await request("/items/a;b")).text).toBe("a;b")
  })

  it("come through for any valid id", async () => {
    const { request } = await start()
    const ids = fc.sample(
      fc.fullUnicodeString({ minLength: 1, maxLength: 40 }).filter((id) => idProblem(id) === undefined),
      { numRuns: 60, seed: 11 }
    )
    for (const id of ids) {
      const path = `/items/${encodeURIComponent(id)}`
      expect((await request(path, put(id))).json).toMatchObject({ id })
      expect((await request(path)).text).toBe(id)
    }
  })

  it("are refused with 400 when they are not valid", async () => {
    const { fake, request } = await start()
    for (const path of [
      "/items/",
      "/items/a..b",
      "/items/.a",
      "/items/a.",
      "/items/%00",
      "/items/a%0Ab",
      `/items/${"x".repeat(256)}`
    ]) {
      for (const method of ["GET", "HEAD", "PUT", "DELETE"]) {
        const answer = await request(path, { method })
        expect(answer.status, `${method} ${path}`).toBe(400)
        if (method !== "HEAD") expect(answer.json).toMatchObject({ error: "InvalidItem", field: "id" })
      }
    }
    for (const path of [
      "/items/%",
      "/items/%zz",
      "/items/%ff",
      "/items/%c3%28",
      "/items/a?durability=%e0%80"
    ]) {
      const answer = await request(path, put("x"))
      expect(answer.status, path).toBe(400)
      expect(answer.json).toMatchObject({ error: "InvalidRequest" })
    }
    for (const query of [
      "durability=disk",
      "durability=wal&durability=wal",
      "sql=1",
      "ttl_seconds=0",
      "ttl_seconds=1.5",
      "state=x",
      "verified=true"
    ]) {
      expect((await request(`/items/a?${query}`, put("x"))).status, query).toBe(400)
    }
    for (const state of ["%zz", "%00", "", "x".repeat(65), "%F0%9F"]) {
      expect((await request("/items/a", put("x", { "x-sync-state": state }))).status, state).toBe(400)
    }
    expect(fake.calls).toEqual([])
  })

  it("with unknown routes and methods get typed answers", async () => {
    const { request } = await start()
    for (const path of [
      "/",
      "/nope",
      "/items/a/b",
      "/ITEMS/a",
      "/items//a",
      "/health",
      "/health/live/",
      "/admin",
      "//"
    ]) {
      const answer = await request(path)
      expect(answer.status, path).toBe(404)
      expect(answer.json).toMatchObject({ error: "UnknownRoute" })
    }
    for (const [method, path, allow] of [
      ["POST", "/items/a", "DELETE, GET, HEAD, PUT"],
      ["PATCH", "/items/a", "DELETE, GET, HEAD, PUT"],
      ["DELETE", "/items", "GET, HEAD, POST"],
      ["GET", "/admin/shutdown", "POST"],
      ["OPTIONS", "/metrics", "GET, HEAD"],
      ["PROPFIND", "/docs", "GET, HEAD"]
    ] as const) {
      const answer = await request(path, { method })
      expect(answer.status, `${method} ${path}`).toBe(405)
      expect(answer.headers.allow).toBe(allow)
      expect(answer.json).toMatchObject({ error: "MethodNotAllowed" })
    }
  })
})

describe("failures of a write", () => {
  const retryAfterMs = 1_000
  const cases: ReadonlyArray<readonly [Errors.WriteError, number]> = [
    [new Errors.ReadOnly({ retryAfterMs }), 503],
    [new Errors.Backpressure({ level: "Emergency", pressure: 0.95, retryAfterMs }), 429],
    [new Errors.Backpressure({ level: "Shutdown", pressure: 0.98, retryAfterMs }), 503],
    [new Errors.LogFull({ items: 1, bytes: 1, maxItems: 1, maxBytes: 1, retryAfterMs }), 503],
    [new Errors.LogUnavailable({ path: "p", operation: "append", problem: "x", retryAfterMs }), 503],
    [new Errors.TierUnavailable({ tier: "archive", operation: "commit", problem: "x", retryAfterMs }), 503]
  ]
  for (const [error, status] of cases) {
    it(`${error._tag} is ${status} with Retry-After`, async () => {
      const { fake, request } = await start()
      fake.writeFailure = error
      for (const [path, options] of [
        ["/items/a", put("x")],
        ["/items/a", { method: "DELETE" }]
      ] as const) {
        const answer = await request(path, options)
        expect(answer.status).toBe(status)
        expect(answer.headers["retry-after"]).toBe("1")
        expect(answer.json).toMatchObject({
          error: error._tag,
          message: error.message,
          retry_after_ms: 1_000
        })
      }
    })
  }

  it("ItemRejected is 422 and NotSupported 501", async () => {
    const { fake, request } = await start()
    fake.writeFailure = new Errors.ItemRejected({ id: "a", version: 1, problem: "x" })
    expect((await request("/items/a", put("x"))).status).toBe(422)
    fake.writeFailure = new Errors.NotSupported({ operation: "ttl", problem: "x" })
    expect((await request("/items/a", put("x"))).status).toBe(501)
  })

  it("a defect is 500 without its inside, and the server goes on", async () => {
    const { fake, request } = await start()
    fake.defect = new Error("secret inside")
    for (const [path, options] of [
      ["/items/a", put("x")],
      ["/items/a", {}],
      ["/admin/status", {}],
      ["/merkle/root", {}],
      ["/items", {}]
    ] as const) {
      const answer = await request(path, options)
      expect(answer.status, path).toBe(500)
      expect(answer.json).toMatchObject({ error: "InternalError" })
      expect(answer.text).not.toContain("secret")
    }
    fake.defect = undefined
    expect((await request("/items/a", put("x"))).status).toBe(201)
  })
})

describe("bounds of a body", () => {
  it("answers 413 before the body has come, and keeps the connection's answer readable", async () => {
    const { connect, fake, request, setConfig } = await start()
    const declared = await request("/items/a", put(Buffer.alloc(3 * 1024 * 1024)))
    expect(declared.status).toBe(413)
    expect(declared.json).toMatchObject({
      error: "PayloadTooLarge",
      bytes: 3 * 1024 * 1024,
      max_bytes: 1024 * 1024,
      limit: "MAX_PAYLOAD_BYTES"
    })
    const socket = await connect()
    let text = ""
    socket.on("data", (part) => {
      text += part.toString()
    })
    socket.write("PUT /items/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\nabc")
    await eventually(() => text.includes("PayloadTooLarge"))
    socket.destroy()
    expect(fake.calls).toEqual([])
    await setConfig({ maxPayloadBytes: 4 * 1024 * 1024 })
    fake.maxPayloadBytes = 4 * 1024 * 1024
    expect((await request("/items/a", put(Buffer.alloc(3 * 1024 * 1024)))).status).toBe(201)
  })

  it("answers 413 in the middle of a body of unknown length", async () => {
    const { connect, fake } = await start()
    const socket = await connect()
    let text = ""
    socket.on("data", (part) => {
      text += part.toString()
    })
    socket.on("error", () => {})
    socket.write("PUT /items/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
    const chunk = `${(64 * 1024).toString(16)}\r\n${"x".repeat(64 * 1024)}\r\n`
    for (let sent = 0; sent < 40 && !text.includes("PayloadTooLarge"); sent++) {
      socket.write(chunk)
      await sleep(2)
    }
    await eventually(() => text.includes("PayloadTooLarge"))
    socket.destroy()
    expect(fake.calls).toEqual([])
  })

  it("takes more than the platform's ten MiB when it may", async () => {
    const { fake, request, setConfig } = await start()
    await setConfig({ maxPayloadBytes: 16 * 1024 * 1024 })
    fake.maxPayloadBytes = 16 * 1024 * 1024
    expect((await request("/items/a", put(Buffer.alloc(16 * 1024 * 1024)))).status).toBe(201)
    expect((await request("/items/a")).body).toHaveLength(16 * 1024 * 1024)
  })

  it("refuses bodies above what the server may hold at once, and takes them again afterwards", async () => {
    const { fake, request } = await start({ maxBodyBytes: 100_000 })
    const latch = Effect.unsafeMakeLatch(false)
    fake.beforeWrite = latch.await
    const held = request("/items/a", put(Buffer.alloc(90_000)))
    await eventually(() => fake.calls.length === 1)
    const refused = await request("/items/b", put(Buffer.alloc(20_000)))
    expect(refused.status).toBe(503)
    expect(refused.headers["retry-after"]).toBe("1")
    expect(refused.json).toMatchObject({ error: "Overloaded" })
    await Effect.runPromise(latch.open)
    expect((await held).status).toBe(201)
    expect((await request("/items/b", put(Buffer.alloc(90_000)))).status).toBe(201)
  })
})
