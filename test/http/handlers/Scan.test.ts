import { Effect, Stream } from "effect"
import { afterEach, describe, expect, it } from "vitest"
import * as Errors from "../../../src/EngineError.js"
import { itemLines } from "../../../src/http/handlers/Scan.js"
import { contentHashOf, type SyncItem } from "../../../src/SyncItem.js"
import { startedAtMs } from "../FakeEngine.js"
import { closeAll, eventually, type Harness, lines, start } from "../Harness.js"

afterEach(closeAll)

const fill = async ({ fake }: Harness, ids: ReadonlyArray<string>, state?: string) => {
  for (const id of ids) await Effect.runPromise(fake.service.submit({ id, content: `{"n":"${id}"}`, state }))
  fake.calls.length = 0
}

describe("GET /items", () => {
  it("lists by prefix, with a cursor on the last line", async () => {
    const server = await start()
    await fill(server, ["geo", "geo.de", "geo.fr", "geox", "z"], "s1")
    const answer = await server.request("/items?prefix=geo&limit=2")
    expect(answer.status).toBe(200)
    expect(answer.headers["content-type"]).toBe("application/x-ndjson")
    const [first, , last] = lines(answer.text)
    expect(first).toEqual({
      id: "geo",
      version: 1,
      updated_at: startedAtMs,
      state: "s1",
      content_type: "json",
      content_hash: contentHashOf(Buffer.from('{"n":"geo"}')),
      content: { n: "geo" }
    })
    expect(last).toEqual({ next_after: "geo.de", items: 2 })
    expect(lines((await server.request("/items?prefix=geo&limit=2&after=geo.de")).text)).toMatchObject([
      { id: "geo.fr" },
      { next_after: null, items: 1 }
    ])
    expect(lines((await server.request("/items")).text)).toHaveLength(6)
  })

  it("lists by state, though the engine's pages are short", async () => {
    const server = await start()
    const ids = Array.from({ length: 10 }, (_, index) => `i${index}`)
    await fill(server, ids, "due now")
    await fill(server, ["other"])
    const all = lines((await server.request("/items?state=due%20now")).text)
    expect(all.map(({ id }) => id)).toEqual([...ids, undefined])
    const page = lines((await server.request("/items?state=due%20now&limit=5&after=i1")).text)
    expect(page.map(({ id }) => id)).toEqual(["i2", "i3", "i4", "i5", "i6", undefined])
    expect(page[5]).toEqual({ next_after: "i6", items: 5 })
  })

  it("writes binary and many-line content as base64, other JSON as it stands", async () => {
    const server = await start()
    await Effect.runPromise(server.fake.service.submit({ id: "b", content: new Uint8Array([0, 255]) }))
    const spread = '{\r\n "a": "x\\n",\n "b": 1.10\n}\n'
    await Effect.runPromise(server.fake.service.submit({ id: "j", content: spread }))
    await Effect.runPromise(server.fake.service.submit({ id: "k", content: '{"b": 1.10}' }))
    const answer = await server.request("/items")
    expect(answer.text.split("\n")).toHaveLength(5)
    expect(answer.text).toContain('{"b": 1.10}')
    expect(lines(answer.text)).toMatchObject([
      { content_base64: "AP8=" },
      { content_base64: Buffer.from(spread).toString("base64") },
      { content: { b: 1.1 } },
      {}
    ])
  })

  it("does not change the item it writes", () => {
    const content = Buffer.from("[\n1\n]")
    const item: SyncItem = {
      id: "a",
      version: 1,
      updatedAt: 1,
      contentType: "json",
      contentHash: contentHashOf(content),
      state: undefined,
      content,
      traceparent: undefined
    }
    for (const _ of itemLines([item]));
    expect(content.toString()).toBe("[\n1\n]")
  })

  it("does not copy a large content, and encodes one in parts", () => {
    const content = Buffer.alloc(1_000_001, 0x31)
    const item: SyncItem = {
      id: "a",
      version: 1,
      updatedAt: 1,
      contentType: "json",
      contentHash: contentHashOf(content),
      state: undefined,
      content,
      traceparent: undefined
    }
    const asJson = [...itemLines([item, item])]
    expect(asJson.filter(({ buffer }) => buffer === content.buffer)).toHaveLength(2)
    const inBase64 = [...itemLines([{ ...item, contentType: "binary" }])]
    expect(Math.max(...inBase64.map(({ length }) => length))).toBeLessThan(200_000)
    const [json, , base64] = Buffer.concat([...asJson, ...inBase64])
      .toString()
      .split("\n")
    expect(json?.endsWith(`"content":${content.toString()}}`)).toBe(true)
    expect(base64?.endsWith(`"content_base64":"${content.toString("base64")}"}`)).toBe(true)
  })

  it("refuses what it cannot list", async () => {
    const { fake, request } = await start()
    for (const query of [
      "prefix=a&state=b",
      "prefix=a..b",
      "state=",
      `state=${"x".repeat(65)}`,
      "after=",
      "after=..",
      "limit=0",
      "limit=10001",
      "limit=x",
      "offset=3",
      "prefix=%ff",
      "prefix=a&prefix=b"
    ]) {
      const answer = await request(`/items?${query}`)
      expect(answer.status, query).toBe(400)
      expect(answer.json, query).toMatchObject({ error: "InvalidRequest" })
    }
    expect(fake.calls).toEqual([])
  })

  it("answers 503 when it cannot begin", async () => {
    const { fake, request } = await start()
    fake.readFailure = new Errors.TierUnavailable({
      tier: "archive",
      operation: "scan",
      problem: "down",
      retryAfterMs: 2_500
    })
    for (const query of ["prefix=a", "state=b"]) {
      const answer = await request(`/items?${query}`)
      expect(answer.status).toBe(503)
      expect(answer.headers["retry-after"]).toBe("3")
    }
  })

  it("says on the last line what ended it in the middle", async () => {
    const server = await start()
    const item = await Effect.runPromise(
      Effect.zipRight(
        server.fake.service.submit({ id: "a", content: "1" }),
        Effect.flatten(server.fake.service.get("a"))
      )
    )
    const failure = new Errors.TierUnavailable({
      tier: "archive",
      operation: "scan",
      problem: "lost",
      retryAfterMs: 1
    })
    const service = server.fake.service as { scanPrefix: unknown }
    service.scanPrefix = () => Stream.concat(Stream.make(item), Stream.fail(failure))
    const answer = await server.request("/items")
    expect(answer.status).toBe(200)
    expect(lines(answer.text)).toMatchObject([{ id: "a" }, { error: "TierUnavailable", problem: "lost" }])
    service.scanPrefix = () => Stream.concat(Stream.make(item), Stream.die(new Error("secret inside")))
    const died = await server.request("/items")
    expect(lines(died.text)).toMatchObject([{ id: "a" }, { error: "InternalError" }])
    expect(died.text).not.toContain("secret")
  })

  it("reads no faster than its client, and stops when the client goes away", async () => {
    const server = await start()
    const content = new Uint8Array(64 * 1024)
    let produced = 0
    let finished = false
    const item: SyncItem = {
      id: "a",
      version: 1,
      updatedAt: 1,
      contentType: "binary",
      contentHash: contentHashOf(content),
      state: undefined,
      content,
      traceparent: undefined
    }
    const service = server.fake.service as { scanPrefix: unknown }
    service.scanPrefix = () =>
      Stream.repeatEffect(
        Effect.sync(() => {
          produced += 1
          return item
        })
      ).pipe(
        Stream.ensuring(
          Effect.sync(() => {
            finished = true
          })
        )
      )
    const socket = await server.connect()
    socket.pause()
    socket.write("GET /items?limit=10000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await eventually(() => produced > 1)
    let before = -1
    await eventually(() => {
      const still = produced === before
      before = produced
      return still
    })
    expect(produced).toBeLessThan(2_000)
    expect(finished).toBe(false)
    socket.destroy()
    await eventually(() => finished)
  })

  it("gives up on a client that stopped reading", async () => {
    const server = await start({ streamIdleTimeout: 150 })
    let finished = false
    const service = server.fake.service as { scanPrefix: unknown }
    const item = await Effect.runPromise(
      Effect.zipRight(
        server.fake.service.submit({ id: "a", content: "1" }),
        Effect.flatten(server.fake.service.get("a"))
      )
    )
    service.scanPrefix = () =>
      Stream.concat(Stream.make(item), Stream.never).pipe(
        Stream.ensuring(
          Effect.sync(() => {
            finished = true
          })
        )
      )
    const socket = await server.connect()
    let closed = false
    socket.on("close", () => {
      closed = true
    })
    socket.on("data", () => {})
    socket.write("GET /items HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await eventually(() => closed && finished)
  })
})

describe("the tree", () => {
  it("answers root and node", async () => {
    const { request } = await start()
    expect((await request("/merkle/root")).json).toEqual({ root: "a".repeat(64) })
    const child = (name: string) => ({ name, kind: "leaf", count: 1, digest: "c".repeat(64) })
    expect((await request("/merkle/node?path=geo&limit=2")).json).toEqual({
      path: "geo",
      count: 3,
      sum: `${"0".repeat(62)}ff`,
      digest: "b".repeat(64),
      children: [child("de"), child("fr")],
      next_after: { name: "fr", kind: "leaf" }
    })
    expect((await request("/merkle/node?path=geo&limit=2&after=fr&after_kind=leaf")).json).toMatchObject({
      children: [child("it")],
      next_after: null
    })
  })

  it("has a top even when it is empty, and nothing else then", async () => {
    const { request } = await start()
    expect((await request("/merkle/node")).json).toEqual({
      path: "",
      count: 0,
      sum: "0".repeat(64),
      digest: "a".repeat(64),
      children: [],
      next_after: null
    })
    const absent = await request("/merkle/node?path=nothing")
    expect(absent.status).toBe(404)
    expect(absent.json).toMatchObject({ error: "NotFound", path: "nothing" })
  })

  it("refuses half cursors, bad paths and bad limits", async () => {
    const { request } = await start()
    for (const query of [
      "after=a",
      "after_kind=leaf",
      "after=a&after_kind=twig",
      "path=a..b",
      "limit=0",
      "x=1"
    ]) {
      expect((await request(`/merkle/node?${query}`)).status, query).toBe(400)
    }
  })

  it("is unavailable when the archive is", async () => {
    const { fake, request } = await start()
    fake.readFailure = new Errors.TierUnavailable({
      tier: "archive",
      operation: "root",
      problem: "down",
      retryAfterMs: 1
    })
    expect((await request("/merkle/root")).status).toBe(503)
    expect((await request("/merkle/node?path=geo")).status).toBe(503)
  })
})
