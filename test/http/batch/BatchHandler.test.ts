import * as http from "node:http"
import { Effect } from "effect"
import { afterEach, describe, expect, it } from "vitest"
import * as Errors from "../../../src/EngineError.js"
import type { SubmitItem } from "../../../src/SyncEngine.js"
import { closeAll, eventually, lines, sleep, start } from "../Harness.js"

afterEach(closeAll)

const ndjson = { "content-type": "application/x-ndjson" }
const post = (body: string | Uint8Array, headers: Record<string, string> = ndjson) => ({
  method: "POST",
  body,
  headers
})

describe("POST /items", () => {
  it("answers a line an item, in order, and a summary", async () => {
    const { fake, request } = await start()
    const body = [
      '{"id":"a","content":{"x": 1.0},"state":"new","version":7}',
      "",
      "nonsense",
      '{"id":"b","content_base64":"AAE="}',
      '{"id":"..","content":1}',
      '{"id":"a","delete":true}',
      '{"id":"a","content":1,"version":3}',
      '{"id":"c","content":"last"}'
    ].join("\n")
    const answer = await request("/items", post(body))
    expect(answer.status).toBe(200)
    expect(answer.headers["content-type"]).toBe("application/x-ndjson")
    const results = lines(answer.text)
    expect(results).toMatchObject([
      { line: 1, id: "a", status: "acknowledged", version: 7, durability: "wal", previous_version: null },
      { line: 3, status: "rejected", error: "InvalidLine", message: "line 3 is not valid JSON" },
      { line: 4, id: "b", status: "acknowledged" },
      { line: 5, id: "..", status: "rejected", error: "InvalidLine" },
      { line: 6, id: "a", status: "acknowledged", previous_version: 7 },
      { line: 7, id: "a", status: "rejected", error: "VersionConflict", submitted: 3 },
      { line: 8, id: "c", status: "acknowledged" },
      { summary: { lines: 7, acknowledged: 4, rejected: 3 } }
    ])
    expect(Buffer.from(fake.rows.get("b")!.content).toString("hex")).toBe("0001")
    expect(Buffer.from(fake.rows.get("c")!.content).toString()).toBe('"last"')
    expect(fake.rows.get("a")!.deleted).toBe(true)
  })

  it("keeps content byte for byte", async () => {
    const { fake, request } = await start()
    await request("/items", post('{"id":"a","content": {"b" :1.10 , "a":[ ]} }\r\n'))
    expect(Buffer.from(fake.rows.get("a")!.content).toString()).toBe('{"b" :1.10 , "a":[ ]}')
  })

  it("answers only what was refused when asked to", async () => {
    const { request } = await start()
    const answer = await request("/items?results=rejected", post('{"id":"a","content":1}\nx\n'))
    expect(lines(answer.text)).toMatchObject([
      { line: 2 },
      { summary: { lines: 2, acknowledged: 1, rejected: 1 } }
    ])
  })

  it("takes an empty body", async () => {
    const { request } = await start()
    for (const body of ["", "\n\n \r\n"]) {
      expect(lines((await request("/items", post(body))).text)).toEqual([
        { summary: { lines: 0, acknowledged: 0, rejected: 0 } }
      ])
    }
  })

  it("hands durability, trace context and time to live on", async () => {
    const { fake, request } = await start()
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    const own = traceparent.replace("0af", "1bf")
    await request(
      "/items?durability=archive",
      post(
        `{"id":"a","content":1}\n{"id":"b","content":1,"traceparent":"${own}"}\n{"id":"c","content":1,"ttlSeconds":2}\n{"id":"a","delete":true}\n`,
        { ...ndjson, traceparent }
      )
    )
    expect(fake.calls.map(({ name }) => name)).toEqual(["submitMany", "submitMany", "deleteMany"])
    const [plain, volatile, deleted] = fake.calls.map((call) => call.arguments)
    expect((plain![0] as ReadonlyArray<SubmitItem>).map((item) => item.traceparent)).toEqual([
      traceparent,
      own
    ])
    expect(plain![1]).toEqual({ durability: "archive" })
    expect(volatile![1]).toMatchObject({ sql: false })
    expect(deleted).toEqual([["a"], { durability: "archive", traceparent }])
  })

  it("refuses other types, codings and parameters", async () => {
    const { fake, request } = await start()
    for (const headers of [
      {},
      { "content-type": "application/json" },
      { "content-type": "text/plain" },
      { ...ndjson, "content-encoding": "gzip" }
    ]) {
      expect((await request("/items", post("{}", headers as Record<string, string>))).status).toBe(415)
    }
    for (const query of ["durability=x", "results=none", "extra=1"]) {
      expect((await request(`/items?${query}`, post("{}"))).status).toBe(400)
    }
    expect(fake.calls).toEqual([])
  })

  it("answers with the status when nothing could be written", async () => {
    const { fake, request } = await start()
    fake.writeFailure = new Errors.Backpressure({ level: "Shutdown", pressure: 0.99, retryAfterMs: 4_500 })
    const answer = await request("/items", post('bad\n{"id":"a","content":1}\n'))
    expect(answer.status).toBe(503)
    expect(answer.headers["retry-after"]).toBe("5")
    expect(answer.json).toMatchObject({ error: "Backpressure", level: "Shutdown" })
  })

  it("reports a later refusal with its lines and goes on", async () => {
    const { fake, request } = await start()
    let calls = 0
    fake.beforeWrite = Effect.sync(() => {
      calls += 1
      fake.writeFailure =
        calls === 1
          ? new Errors.LogFull({ items: 1, bytes: 1, maxItems: 1, maxBytes: 1, retryAfterMs: 100 })
          : undefined
    })
    const body = Array.from({ length: 1_500 }, (_, index) => `{"id":"i${index}","content":1}`).join("\n")
    const results = lines((await request("/items", post(body))).text)
    expect(results).toHaveLength(1_501)
    const rejected = results.filter(({ status }) => status === "rejected")
    expect(rejected.length).toBeGreaterThan(0)
    expect(rejected[0]).toMatchObject({ error: "LogFull", retry_after_ms: 100 })
    expect(results[results.length - 1]).toMatchObject({
      summary: { lines: 1_500, rejected: rejected.length }
    })
  })

  it("answers with a status only when nothing was written, be it in the same chunk", async () => {
    const { fake, request } = await start()
    fake.beforeWrite = Effect.sync(() => {
      fake.writeFailure = new Errors.LogFull({
        items: 1,
        bytes: 1,
        maxItems: 1,
        maxBytes: 1,
        retryAfterMs: 100
      })
    })
    const answer = await request("/items", post('{"id":"a","content":1}\n{"id":"b","delete":true}\n'))
    expect(answer.status).toBe(200)
    expect(lines(answer.text)).toMatchObject([
      { line: 1, id: "a", status: "acknowledged" },
      { line: 2, id: "b", status: "rejected", error: "LogFull" },
      { summary: { lines: 2, acknowledged: 1, rejected: 1 } }
    ])
  })

  it("turns an engine's defect into a last line", async () => {
    const { fake, request } = await start()
    let calls = 0
    fake.beforeWrite = Effect.sync(() => {
      calls += 1
      if (calls === 1) fake.defect = new Error("secret inside")
    })
    const body = Array.from({ length: 3_000 }, (_, index) => `{"id":"i${index}","content":1}`).join("\n")
    const answer = await request("/items", post(body))
    const results = lines(answer.text)
    expect(results[results.length - 1]).toMatchObject({ error: "InternalError" })
    expect(answer.text).not.toContain("secret")
  })

  it("submits in bounded chunks, below MAX_BATCH_ITEMS", async () => {
    const { fake, request, setConfig } = await start()
    const sizes = () => fake.calls.map((call) => (call.arguments[0] as ReadonlyArray<unknown>).length)
    const body = Array.from({ length: 2_500 }, (_, index) => `{"id":"i${index}","content":1}`).join("\n")
    expect(lines((await request("/items", post(body))).text)).toHaveLength(2_501)
    expect(Math.max(...sizes())).toBeLessThanOrEqual(1_000)
    expect(sizes().reduce((sum, size) => sum + size, 0)).toBe(2_500)
    fake.calls.length = 0
    await setConfig({ maxBatchItems: 10 })
    await request("/items", post(body))
    expect(Math.max(...sizes())).toBe(10)
  })

  it("skips lines that are too long and goes on", async () => {
    const { request, setConfig } = await start()
    await setConfig({ maxPayloadBytes: 100_000 })
    const body = `{"id":"a","content":"${"x".repeat(400_000)}"}\n{"id":"b","content":1}\n`
    expect(lines((await request("/items", post(body))).text)).toMatchObject([
      { line: 1, status: "rejected", error: "PayloadTooLarge" },
      { line: 2, status: "acknowledged" },
      { summary: { lines: 2 } }
    ])
  })

  it("streams: results of early lines come while later ones are still to be sent", async () => {
    const { fake, host, port } = await start()
    const request = http.request({ host, port, path: "/items", method: "POST", headers: ndjson })
    let text = ""
    request.on("response", (response) => {
      response.on("data", (part) => {
        text += String(part)
      })
    })
    request.write('{"id":"a","content":1}\n{"id":"b",')
    await eventually(() => text.includes('"line":1'))
    expect(fake.rows.has("a")).toBe(true)
    request.write('"content":2}\n')
    await eventually(() => text.includes('"line":2'))
    request.end()
    await eventually(() => text.includes('"summary"'))
  })

  it("does what came whole when the client goes away in the middle", async () => {
    const { connect, fake, request } = await start()
    const socket = await connect()
    socket.write(
      'POST /items HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: 1000\r\n\r\n{"id":"a","content":1}\n{"id":"b","con'
    )
    await eventually(() => fake.rows.has("a"))
    socket.destroy()
    // A later request is answered: the server has seen the end of this one.
    expect((await request("/items/c", { method: "PUT", body: "1" })).status).toBe(201)
    expect([...fake.rows.keys()]).toEqual(["a", "c"])
  })

  it("holds no more than its budget of a sender faster than the engine", async () => {
    const { fake, host, port } = await start({ maxBodyBytes: 8 * 1024 * 1024 })
    const latch = Effect.unsafeMakeLatch(false)
    fake.beforeWrite = latch.await
    const request = http.request({
      host,
      port,
      path: "/items?results=rejected",
      method: "POST",
      headers: ndjson
    })
    let status: number | undefined
    let text = ""
    request.on("response", (response) => {
      status = response.statusCode
      response.on("data", (part) => {
        text += String(part)
      })
    })
    const line = `{"id":"a","content":"${"x".repeat(1_000)}"}\n`
    const block = line.repeat(64)
    let sent = 0
    let blocked = false
    while (!blocked && sent < 200) {
      sent += 1
      blocked = !request.write(block)
      if (blocked) {
        await Promise.race([
          new Promise((resolve) => request.once("drain", resolve)).then(() => (blocked = false)),
          sleep(300)
        ])
      }
    }
    expect(blocked).toBe(true)
    expect(fake.calls).toHaveLength(1)
    await Effect.runPromise(latch.open)
    request.end()
    await eventually(() => text.includes('"summary"'))
    expect(status).toBe(200)
    expect(lines(text)).toEqual([{ summary: { lines: sent * 64, acknowledged: sent * 64, rejected: 0 } }])
  })
})
