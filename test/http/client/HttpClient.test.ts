import * as http from "node:http"
import type { AddressInfo } from "node:net"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import type { HttpClient } from "@effect/platform/HttpClient"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Chunk, Effect, Either, type Layer, Option, Redacted, Stream } from "effect"
import { afterEach, describe, expect, it } from "vitest"
import * as Errors from "../../../src/EngineError.js"
import { errorBody, errorOf } from "../../../src/http/api/ErrorMapping.js"
import { type Client, make } from "../../../src/http/client/HttpClient.js"
import { batchLine } from "../../../src/http/client/ItemLines.js"
import { contentHashOf, tombstone } from "../../../src/SyncItem.js"
import { startedAtMs } from "../FakeEngine.js"
import { closeAll, start } from "../Harness.js"

afterEach(closeAll)

const platforms: Readonly<Record<string, Layer.Layer<HttpClient>>> = {
  fetch: FetchHttpClient.layer,
  undici: NodeHttpClient.layerUndici,
  node: NodeHttpClient.layer
}

const use = <A, E>(
  url: string,
  run: (client: Client) => Effect.Effect<A, E>,
  options: { readonly token?: string; readonly platform?: string } = {}
): Promise<A> => {
  const token = options.token === undefined ? undefined : Redacted.make(options.token)
  return Effect.runPromise(
    Effect.flatMap(make({ url, token }), run).pipe(Effect.provide(platforms[options.platform ?? "fetch"]!))
  )
}

const all = <A, E>(stream: Stream.Stream<A, E>) =>
  Effect.map(Stream.runCollect(stream), Chunk.toReadonlyArray)

describe("the client", () => {
  for (const platform of Object.keys(platforms)) {
    it(`writes, reads and deletes over ${platform}`, async () => {
      const { fake, url } = await start()
      const content = new Uint8Array([0, 1, 255])
      const id = "a/b é?#%"
      await use(
        `${url}/`,
        (client) =>
          Effect.gen(function* () {
            const receipt = yield* client.submit(
              { id, content, state: "näu", version: 5, contentType: "binary" },
              { durability: "archive", expectedVersion: 0 }
            )
            expect(receipt).toEqual({
              id,
              version: 5,
              contentHash: contentHashOf(content),
              durability: "archive",
              previousVersion: undefined,
              compared: true
            })
            expect(Option.getOrThrow(yield* client.get(id))).toEqual({
              id,
              version: 5,
              updatedAt: startedAtMs,
              contentType: "binary",
              contentHash: contentHashOf(content),
              state: "näu",
              content,
              traceparent: undefined
            })
            expect(yield* client.delete(id, { expectedVersion: 5 })).toBe(6)
            expect(yield* client.get(id)).toEqual(Option.none())
          }),
        { platform }
      )
      expect(fake.calls.map(({ name }) => name)).toEqual(["submit", "get", "delete", "get"])
    })
  }

  it("sends an item's trace context, and the current span's only when asked to", async () => {
    const { fake, url } = await start()
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    const write = (propagateTrace: boolean, item: object) =>
      Effect.runPromise(
        Effect.flatMap(make({ url, propagateTrace }), (client) =>
          client.submit({ id: "a", content: "x", ...item })
        ).pipe(Effect.withSpan("test"), Effect.provide(FetchHttpClient.layer))
      )
    await write(false, {})
    expect(fake.rows.get("a")?.traceparent).toBeUndefined()
    await write(true, {})
    expect(fake.rows.get("a")?.traceparent).toMatch(/^00-/)
    for (const propagate of [true, false]) {
      await write(propagate, { traceparent })
      expect(fake.rows.get("a")?.traceparent).toBe(traceparent)
    }
  })

  it("fails with the engine's own errors", async () => {
    const { fake, url } = await start()
    const failure = <A>(run: (client: Client) => Effect.Effect<A, unknown>) =>
      use(url, (client) => Effect.flip(run(client)))
    fake.writeFailure = new Errors.Backpressure({ level: "Emergency", pressure: 0.96, retryAfterMs: 1_000 })
    const refused = await failure((client) => client.submit({ id: "a", content: "x" }))
    expect(refused).toBeInstanceOf(Errors.Backpressure)
    expect(refused).toMatchObject({ level: "Emergency", retryAfterMs: 1_000 })
    fake.readFailure = new Errors.TierUnavailable({
      tier: "archive",
      operation: "get",
      problem: "down",
      retryAfterMs: 1
    })
    expect(await failure((client) => client.get("a"))).toBeInstanceOf(Errors.TierUnavailable)
    expect(await failure((client) => client.flush)).toBeInstanceOf(Errors.TierUnavailable)
    expect(await failure((client) => all(client.scan({ prefix: "a" })))).toBeInstanceOf(
      Errors.TierUnavailable
    )
    expect(await failure((client) => client.get("a..b"))).toBeInstanceOf(Errors.InvalidItem)
  })

  it("understands every error that can be answered", () => {
    const errors: ReadonlyArray<Errors.EngineError> = [
      new Errors.InvalidItem({ id: "a", field: "id", problem: "x" }),
      new Errors.InvalidRequest({ argument: "a", problem: "x" }),
      new Errors.PayloadTooLarge({ id: "a", bytes: 1, maxBytes: 2, limit: "x" }),
      new Errors.VersionConflict({ id: "a", submitted: 1, current: 2 }),
      new Errors.VersionMismatch({ id: "a", expected: 1, actual: 2 }),
      new Errors.GateClosed({ operation: "query", phase: "starting", reason: "wal_drain", retryAfterMs: 1 }),
      new Errors.ReadOnly({ retryAfterMs: 1 }),
      new Errors.LogFull({ items: 1, bytes: 2, maxItems: 3, maxBytes: 4, retryAfterMs: 5 }),
      new Errors.LogUnavailable({ path: "p", operation: "o", problem: "x", retryAfterMs: 1 }),
      new Errors.ItemRejected({ id: "a", version: 1, problem: "x" }),
      new Errors.CorruptItem({ id: "a", version: 1, expectedHash: "x", actualHash: "y" }),
      new Errors.NotSupported({ operation: "o", problem: "x" })
    ]
    for (const error of errors) {
      const read = errorOf(503, JSON.stringify(errorBody(error)))
      expect(read._tag).toBe(error._tag)
      expect(read.message).toBe(error.message)
    }
    for (const text of [
      "",
      "<html>",
      "[]",
      '{"error":1}',
      '{"error":"Teapot","message":"no"}',
      '{"error":"VersionConflict","message":"half"}'
    ]) {
      expect(errorOf(418, text)).toMatchObject({ _tag: "RequestFailed", status: 418 })
    }
  })

  it("sends its token, and says when it is not the right one", async () => {
    const { url } = await start({ token: "secret-token" })
    expect(await use(url, (client) => client.merkleRoot, { token: "secret-token" })).toBe("a".repeat(64))
    for (const token of ["wrong-token", undefined]) {
      const error = await use(
        url,
        (client) => Effect.flip(client.merkleRoot),
        token === undefined ? {} : { token }
      )
      expect(error).toMatchObject({ _tag: "RequestFailed", status: 401, error: "Unauthorized" })
      expect(JSON.stringify(error)).not.toContain("wrong-token")
    }
  })

  it("says that a server cannot be reached", async () => {
    const { close, url } = await start()
    await close()
    const error = await use(url, (client) => Effect.flip(client.status))
    expect(error).toMatchObject({ _tag: "Unreachable", url })
    expect(error.message).toContain("ECONNREFUSED")
  })

  it("does not take another server's 404 for absence", async () => {
    const { url } = await start()
    const error = await use(`${url}/elsewhere`, (client) => Effect.flip(client.get("a")))
    expect(error).toMatchObject({ _tag: "RequestFailed", error: "UnknownRoute" })
  })

  it("submits many, in several requests, with one result an item in order", async () => {
    const { fake, url } = await start()
    const items = Array.from({ length: 1_203 }, (_, index) => ({
      item: {
        id: index % 400 === 7 ? "bad..id" : `i${index}`,
        content: String(index),
        contentType: "json" as const
      },
      ttlSeconds: undefined
    }))
    const results = await use(url, (client) => client.submitMany(items, "archive"))
    expect(results).toHaveLength(items.length)
    results.forEach((result, index) => {
      if (items[index]!.item.id === "bad..id") {
        expect(result).toMatchObject({ _tag: "Rejected", id: "bad..id", error: { _tag: "InvalidItem" } })
      } else {
        expect(result).toMatchObject({
          _tag: "Acknowledged",
          receipt: { id: `i${index}`, durability: "archive" }
        })
      }
    })
    expect(fake.rows.size).toBe(1_200)
    expect(await use(url, (client) => client.submitMany([]))).toEqual([])
  })

  it("cannot be talked into other fields by an item's content", async () => {
    const { fake, url } = await start()
    const inject = '1,"version":99,"state":"x"'
    const [result] = await use(url, (client) =>
      client.submitMany([{ item: { id: "a", content: inject, contentType: "json" }, ttlSeconds: undefined }])
    )
    expect(result).toMatchObject({ _tag: "Rejected", error: { _tag: "InvalidItem", field: "content" } })
    expect(fake.rows.size).toBe(0)
    const line = batchLine({ item: { id: "a", content: "{\n}", contentType: "json" }, ttlSeconds: 3 })
    expect(JSON.parse(Either.getOrThrow(line).toString())).toEqual({
      id: "a",
      ttl_seconds: 3,
      content_type: "json",
      content_base64: "ewp9"
    })
  })

  it("scans over pages, by prefix and by state", async () => {
    const { fake, url } = await start()
    const ids = Array.from({ length: 2_300 }, (_, index) => `p.${String(index).padStart(4, "0")}`)
    for (const id of ids)
      await Effect.runPromise(fake.service.submit({ id, content: `[ "${id}" ]`, state: "s" }))
    await Effect.runPromise(fake.service.submit({ id: "q", content: new Uint8Array([9]) }))
    const scanned = await use(url, (client) => all(client.scan({ prefix: "p" })))
    expect(scanned.map(({ id }) => id)).toEqual(ids)
    expect(Buffer.from(scanned[3]!.content).toString()).toBe('[ "p.0003" ]')
    const limited = await use(url, (client) =>
      all(client.scan({ state: "s", after: "p.0009", limit: 1_500 }))
    )
    expect(limited.map(({ id }) => id)).toEqual(ids.slice(10, 1_510))
    expect(await use(url, (client) => all(client.scan({ prefix: "q" })))).toMatchObject([
      { contentType: "binary" }
    ])
    expect(await use(url, (client) => all(client.scan({ prefix: "none" })))).toEqual([])
  })

  it("fails when a scan ends in the middle", async () => {
    const { fake, url } = await start()
    await Effect.runPromise(fake.service.submit({ id: "a", content: "1" }))
    const service = fake.service as { scanPrefix: unknown }
    const item = await Effect.runPromise(Effect.flatten(fake.service.get("a")))
    const lost = new Errors.TierUnavailable({
      tier: "archive",
      operation: "scan",
      problem: "lost",
      retryAfterMs: 1
    })
    service.scanPrefix = () => Stream.concat(Stream.make(item), Stream.fail(lost))
    expect(await use(url, (client) => Effect.flip(all(client.scan({}))))).toMatchObject({
      _tag: "TierUnavailable",
      problem: "lost"
    })
  })

  it("operates the engine", async () => {
    const { fake, url } = await start()
    fake.letters = Array.from({ length: 5 }, (_, index) => ({
      sequence: index + 1,
      record: tombstone(`id${index}`, index + 1, startedAtMs),
      reason: "no",
      at: startedAtMs
    }))
    await use(url, (client) =>
      Effect.gen(function* () {
        expect(yield* client.live).toMatchObject({ ok: true, lifecycle: { phase: "ready" } })
        expect((yield* client.startup).ok).toBe(true)
        expect((yield* client.status).stats.pending).toBe(1)
        expect(yield* client.flush).toEqual({ flushed: 2, deadLettered: 1, pending: 0 })
        expect((yield* client.verify()).inSync).toBe(true)
        yield* client.setReadOnly(true)
        expect((yield* client.ready("writes")).ok).toBe(false)
        yield* client.setReadOnly(false)
        expect((yield* client.ready("writes")).ok).toBe(true)
        expect((yield* all(client.deadLetters.list())).map(({ sequence }) => sequence)).toEqual([
          1, 2, 3, 4, 5
        ])
        expect(yield* client.deadLetters.retry([1])).toBe(1)
        expect(yield* client.deadLetters.drop()).toBe(4)
        expect(yield* client.metrics).toMatch(/\n$/)
        expect(yield* client.merkleNode("nothing")).toEqual(Option.none())
        expect(Option.getOrThrow(yield* client.merkleNode("geo", { limit: 1 }))).toMatchObject({
          count: 3,
          nextAfter: { name: "de", kind: "leaf" }
        })
        expect(yield* client.drain).toBe(true)
        expect(yield* client.drain).toBe(false)
        expect((yield* client.shutdown).clean).toBe(true)
        expect((yield* client.live).ok).toBe(false)
      })
    )
  })
})

describe("something else at the address", () => {
  const answers = [
    [200, "text/html", "<html>log in</html>"],
    [200, "application/json", "{}"],
    [200, "application/json", "null"],
    [201, "text/plain", ""],
    [204, "text/plain", ""]
  ] as const
  for (const [status, type, body] of answers) {
    it(`${status} ${type} ${body} is believed by no call`, async () => {
      const server = http.createServer((request, response) => {
        request.resume()
        response.writeHead(status, { "content-type": type }).end(body)
      })
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      const { port } = server.address() as AddressInfo
      const calls: Readonly<Record<string, (client: Client) => Effect.Effect<unknown, unknown>>> = {
        get: (client) => client.get("a"),
        getVerified: (client) => client.get("a", { verified: true }),
        submit: (client) => client.submit({ id: "a", content: "1" }),
        submitMany: (client) =>
          client.submitMany([{ item: { id: "a", content: "1" }, ttlSeconds: undefined }]),
        delete: (client) => client.delete("a"),
        scan: (client) => all(client.scan({})),
        status: (client) => client.status,
        verify: (client) => client.verify({}),
        repair: (client) => client.repair({}),
        flush: (client) => client.flush,
        drain: (client) => client.drain,
        shutdown: (client) => client.shutdown,
        root: (client) => client.merkleRoot,
        letters: (client) => all(client.deadLetters.list()),
        retry: (client) => client.deadLetters.retry(undefined)
      }
      for (const [name, call] of Object.entries(calls)) {
        const exit = await use(`http://127.0.0.1:${port}`, (client) => Effect.either(call(client)))
        expect([name, exit]).toMatchObject([
          name,
          { left: { _tag: expect.stringMatching(/^(RequestFailed|Unreachable)$/) } }
        ])
      }
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    })
  }
})

describe("text that has no form in UTF-8", () => {
  it("is refused before anything is sent, and the rest of a batch is", async () => {
    const { fake, url } = await start()
    const refused = async (call: (client: Client) => Effect.Effect<unknown, unknown>) =>
      (await use(url, (client) => Effect.flip(call(client)))) as { readonly _tag: string }
    expect(await refused((client) => client.submit({ id: "a", content: "\ud800" }))).toMatchObject({
      _tag: "InvalidItem",
      field: "content"
    })
    expect(
      await refused((client) => client.submit({ id: "a", content: "x", state: "\udc00" }))
    ).toMatchObject({ _tag: "InvalidItem", field: "state" })
    expect(await refused((client) => Stream.runDrain(client.scan({ state: "\ud800" })))).toMatchObject({
      _tag: "InvalidRequest",
      argument: "state"
    })
    expect(fake.calls).toEqual([])
    const results = await use(url, (client) =>
      client.submitMany(
        ["x", "\ud800", "y", '{"\udfff":1}', "z"].map((content, at) => ({
          item: { id: `n.${at}`, content },
          ttlSeconds: undefined
        }))
      )
    )
    expect(results.map((result) => (result._tag === "Rejected" ? result.id : result.receipt.id))).toEqual([
      "n.0",
      "n.1",
      "n.2",
      "n.3",
      "n.4"
    ])
    expect(results.map(({ _tag }) => _tag)).toEqual([
      "Acknowledged",
      "Rejected",
      "Acknowledged",
      "Rejected",
      "Acknowledged"
    ])
  })
})
