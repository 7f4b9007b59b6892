import * as http from "node:http"
import { Effect } from "effect"
import { afterEach, describe, expect, it } from "vitest"
import * as Errors from "../../src/EngineError.js"
import { tombstone } from "../../src/SyncItem.js"
import { startedAtMs } from "./FakeEngine.js"
import { closeAll, eventually, start } from "./Harness.js"

afterEach(closeAll)

const json = { "content-type": "application/json" }

describe("health", () => {
  it("follows the phases", async () => {
    const { fake, lifecycle, request } = await start({}, false)
    const statuses = async () =>
      Promise.all(
        [
          "/health/live",
          "/health/startup",
          "/health/ready",
          "/health/ready?for=queries",
          "/health/ready?for=writes"
        ].map(async (path) => (await request(path)).status)
      )
    await Effect.runPromise(lifecycle.setReason("wal_drain"))
    expect(await statuses()).toEqual([200, 503, 503, 503, 503])
    await Effect.runPromise(lifecycle.markReady)
    expect(await statuses()).toEqual([200, 200, 200, 200, 200])
    await Effect.runPromise(lifecycle.beginDrain)
    expect(await statuses()).toEqual([200, 200, 200, 200, 503])
    await Effect.runPromise(lifecycle.beginShutdown)
    expect(await statuses()).toEqual([200, 200, 503, 503, 503])
    await Effect.runPromise(lifecycle.complete(fake.report))
    expect(await statuses()).toEqual([503, 200, 503, 503, 503])
  })

  it("is answered in the call that brings the request, before whatever is queued", async () => {
    const answered: Array<boolean> = []
    const emit = http.Server.prototype.emit
    const observed = function (this: http.Server, name: string, ...rest: ReadonlyArray<unknown>): boolean {
      const handled = Reflect.apply(emit, this, [name, ...rest]) as boolean
      if (name === "request") answered.push((rest[1] as http.ServerResponse).writableEnded)
      return handled
    }
    const { request } = await start()
    http.Server.prototype.emit = observed as typeof emit
    try {
      for (const path of ["live", "startup", "ready", "ready?for=writes"]) await request(`/health/${path}`)
      await request("/health/live", { method: "HEAD" })
    } finally {
      http.Server.prototype.emit = emit
    }
    expect(answered).toEqual([true, true, true, true, true])
  })

  it("says phase, stage and reason", async () => {
    const { lifecycle, request } = await start({}, false)
    await Effect.runPromise(lifecycle.setReason("wal_drain"))
    const answer = await request("/health/ready")
    expect(answer.json).toEqual({
      error: "NotReady",
      message: "the engine is starting (wal_drain)",
      phase: "starting",
      boot_stage: "Created",
      reason: "wal_drain",
      drain_requested: false
    })
    expect(answer.headers["content-type"]).toBe("application/json")
    await Effect.runPromise(lifecycle.markReady)
    expect((await request("/health/ready")).json).toMatchObject({ phase: "ready", drain_requested: false })
    expect(Object.keys((await request("/health/ready")).json as object)).not.toContain("reason")
  })

  it("is not ready for writes while read-only", async () => {
    const { fake, request } = await start()
    fake.readOnly = true
    expect((await request("/health/ready?for=writes")).json).toMatchObject({ error: "ReadOnly" })
    expect((await request("/health/ready?for=writes")).status).toBe(503)
    expect((await request("/health/ready")).status).toBe(200)
  })

  it("is not ready for writes while the log takes none", async () => {
    const { fake, request } = await start()
    fake.logProblem = "log wal.db: append failed: database or disk is full"
    const { json, status } = await request("/health/ready?for=writes")
    expect(status).toBe(503)
    expect(json).toMatchObject({ error: "LogUnavailable", message: fake.logProblem })
    expect((await request("/health/ready")).status).toBe(200)
  })

  it("asks the engine nothing", async () => {
    const { fake, request } = await start()
    for (const path of ["/health/live", "/health/ready", "/health/startup"]) await request(path)
    expect(fake.calls).toEqual([])
  })

  it("refuses unknown questions", async () => {
    const { request } = await start()
    expect((await request("/health/ready?for=lunch")).status).toBe(400)
    expect((await request("/health/ready?fro=writes")).status).toBe(400)
  })
})

describe("admin", () => {
  it("shows the status", async () => {
    const { request } = await start()
    const answer = await request("/admin/status")
    expect(answer.status).toBe(200)
    expect(answer.json).toMatchObject({
      health: {
        lifecycle: { phase: "ready" },
        accepts_writes: true,
        read_only: false,
        degraded: [{ component: "cache", reason: "refused", since: startedAtMs }],
        backpressure: { level: "Normal", pressure: 0 }
      },
      stats: {
        log: { max_items: 3, released: 6 },
        memory: { max_bytes: 3 },
        flushes: { recovery: 5 },
        startup_timings: [{ phase: "wal_init", milliseconds: 12 }]
      }
    })
    expect(answer.text).not.toMatch(/[a-z][A-Z][a-zA-Z]*":/)
  })

  it("drains once", async () => {
    const { lifecycle, request } = await start()
    const first = await request("/admin/drain", { method: "POST" })
    expect(first.json).toMatchObject({ changed: true, phase: "draining" })
    expect((await request("/admin/drain", { method: "POST" })).json).toMatchObject({ changed: false })
    expect(lifecycle.acceptsWrites()).toBe(false)
    const refused = await request("/items/a", { method: "PUT", body: "1" })
    expect(refused.status).toBe(503)
    expect(refused.headers["retry-after"]).toBe("2")
    expect(refused.json).toMatchObject({ error: "GateClosed", phase: "draining", retry_after_ms: 1_500 })
    expect((await request("/items/a")).status).toBe(404)
  })

  it("flushes, and says when the archive cannot be reached", async () => {
    const { fake, request } = await start()
    expect((await request("/admin/flush", { method: "POST" })).json).toEqual({
      flushed: 2,
      dead_lettered: 1,
      pending: 0
    })
    fake.readFailure = new Errors.TierUnavailable({
      tier: "archive",
      operation: "flush",
      problem: "refused",
      retryAfterMs: 5_000
    })
    const failed = await request("/admin/flush", { method: "POST" })
    expect(failed.status).toBe(503)
    expect(failed.headers["retry-after"]).toBe("5")
    expect(failed.json).toMatchObject({ error: "TierUnavailable", tier: "archive" })
  })

  it("verifies, without a body by default and with options as they are given", async () => {
    const { fake, request } = await start()
    const root = "a".repeat(64)
    expect((await request("/admin/verify", { method: "POST" })).json).toEqual({
      in_sync: true,
      complete: true,
      archive_root: root,
      recomputed_root: root,
      cache_root: null,
      rows_checked: 0,
      contents_checked: 0,
      values_checked: 0,
      differences: [],
      differences_total: 0,
      unchecked: [],
      pending: 0
    })
    expect(fake.calls.at(-1)).toEqual({ name: "verify", arguments: [{}] })
    fake.differences = [{ tier: "cache", what: "value", id: "a", problem: "missing" }]
    const options = { roots: true, values: "sample", sample: 5, budget: { rows: 9, milliseconds: 10 } }
    const verified = await request("/admin/verify", {
      method: "POST",
      headers: json,
      body: JSON.stringify(options)
    })
    expect(verified.json).toMatchObject({
      differences: [{ tier: "cache", what: "value", id: "a", problem: "missing" }],
      differences_total: 1
    })
    expect(fake.calls.at(-1)).toEqual({ name: "verify", arguments: [options] })
  })

  it("refuses options that are unknown or out of bounds", async () => {
    const { fake, request } = await start()
    for (const path of ["/admin/verify", "/admin/repair"]) {
      for (const body of [
        '{"row":true}',
        '{"sample":0}',
        '{"values":"all"}',
        '{"budget":{"rows":0}}',
        '{"budget":{"seconds":1}}',
        '{"rows":true,"rows":true}',
        '{"rows":true,"\\u0072ows":true}',
        '{"budget":{"rows":1,"rows":2}}'
      ]) {
        const refused = await request(path, { method: "POST", headers: json, body })
        expect(refused.status).toBe(400)
        expect(refused.json).toMatchObject({ error: "InvalidBody" })
      }
      expect((await request(path, { method: "POST", body: "{}" })).status).toBe(415)
    }
    expect(fake.calls).toEqual([])
  })

  it("repairs and says what was done", async () => {
    const { fake, request } = await start()
    const root = "a".repeat(64)
    expect((await request("/admin/repair", { method: "POST" })).json).toEqual({
      in_sync: true,
      complete: true,
      archive_root: root,
      cache_root: root,
      tree_rebuilt: true,
      contents_restored: 1,
      contents_lost: 1,
      lost: ["gone"],
      cache_written: 2,
      cache_removed: 3,
      cache_rebuilt: false,
      values_rewritten: 4,
      memory_dropped: 5,
      rows_checked: 6,
      contents_checked: 7,
      values_checked: 8,
      problems: []
    })
    await request("/admin/repair", { method: "POST", headers: json, body: '{"contents":false}' })
    expect(fake.calls.at(-1)).toEqual({ name: "repair", arguments: [{ contents: false }] })
  })

  it("sets and lifts read-only", async () => {
    const { fake, request } = await start()
    const set = (body: string, headers: Record<string, string> = json) =>
      request("/admin/readonly", { method: "POST", headers, body })
    expect((await set('{"read_only":true}')).json).toEqual({ read_only: true })
    expect(fake.readOnly).toBe(true)
    expect((await set('{"read_only":false}')).status).toBe(200)
    expect(fake.readOnly).toBe(false)
    for (const body of [
      "",
      "{",
      "[]",
      "null",
      "{}",
      '{"read_only":1}',
      '{"read_only":true,"more":1}',
      '{"readonly":true}'
    ]) {
      const answer = await set(body)
      expect(answer.status, body).toBe(400)
      expect(answer.json).toMatchObject({ error: "InvalidBody" })
    }
    for (const headers of [{}, { "content-type": "text/plain" }, { ...json, "content-encoding": "gzip" }]) {
      expect((await set('{"read_only":true}', headers)).status).toBe(415)
    }
    expect((await set(`{"read_only":${" ".repeat(1_100_000)}true}`)).status).toBe(413)
    expect(
      (
        await request("/admin/readonly", {
          method: "POST",
          headers: json,
          body: Buffer.from([0x22, 0xff, 0x22])
        })
      ).json
    ).toMatchObject({ error: "InvalidBody", problem: "is not valid UTF-8" })
    expect(fake.readOnly).toBe(false)
  })
})

describe("dead letters", () => {
  const letters = [1, 2, 3, 4, 5].map((sequence) => ({
    sequence,
    record: {
      ...tombstone(`id${sequence}`, sequence, startedAtMs),
      content: new Uint8Array(sequence),
      deleted: false
    },
    reason: "too long",
    at: startedAtMs
  }))

  it("are listed in pages, without their contents", async () => {
    const { fake, request } = await start()
    fake.letters = [...letters]
    const first = await request("/admin/dead-letters?limit=2")
    expect(first.json).toMatchObject({
      next_after: 2,
      dead_letters: [{ sequence: 1, content_bytes: 1 }, { sequence: 2 }]
    })
    // Letters can be large: a page may end before its limit, and only an empty one is the end.
    expect((await request("/admin/dead-letters?limit=2&after=5")).json).toEqual({
      next_after: null,
      dead_letters: []
    })
    expect((await request("/admin/dead-letters?limit=2&after=4")).json).toEqual({
      next_after: 5,
      dead_letters: [
        {
          sequence: 5,
          reason: "too long",
          at: startedAtMs,
          id: "id5",
          version: 5,
          updated_at: startedAtMs,
          deleted: false,
          state: null,
          content_type: "binary",
          content_hash: letters[4]!.record.contentHash,
          content_bytes: 5
        }
      ]
    })
    for (const query of [
      "limit=0",
      "limit=10001",
      "limit=1e3",
      "limit=",
      "limit=1&limit=2",
      "after=-1",
      "after=x",
      "page=2"
    ]) {
      const answer = await request(`/admin/dead-letters?${query}`)
      expect(answer.status, query).toBe(400)
      expect(answer.json).toMatchObject({ error: "InvalidRequest" })
    }
  })

  it("are retried and dropped, these or all", async () => {
    const { fake, request } = await start()
    fake.letters = [...letters]
    const post = (what: string, body: object) =>
      request(`/admin/dead-letters/${what}`, { method: "POST", headers: json, body: JSON.stringify(body) })
    expect((await post("retry", { sequences: [1, 9] })).json).toEqual({ retried: 1 })
    expect((await post("drop", { sequences: [2, 3] })).json).toEqual({ dropped: 2 })
    expect(fake.letters.map(({ sequence }) => sequence)).toEqual([4, 5])
    for (const body of [
      {},
      { all: false },
      { sequences: [] },
      { sequences: "1" },
      { sequences: [-1] },
      { sequences: [1.5] },
      { all: true, sequences: [1] }
    ]) {
      expect((await post("drop", body)).status, JSON.stringify(body)).toBe(400)
    }
    expect(fake.letters).toHaveLength(2)
    expect((await post("drop", { all: true })).json).toEqual({ dropped: 2 })
    fake.writeFailure = new Errors.LogFull({
      items: 1,
      bytes: 1,
      maxItems: 1,
      maxBytes: 1,
      retryAfterMs: 2_000
    })
    expect((await post("retry", { all: true })).headers["retry-after"]).toBe("2")
  })
})

describe("shutdown over HTTP", () => {
  it("answers every caller with one report, and only then is it answered", async () => {
    const server = await start()
    const { fake, lifecycle, request } = server
    const latch = Effect.unsafeMakeLatch(false)
    fake.beforeReport = latch.await
    fake.problems = ["backup: no"]
    let answered = false
    const waiting = server.awaitShutdownAnswered.then(() => {
      answered = true
    })
    const answers = [1, 2, 3].map(() => request("/admin/shutdown", { method: "POST" }))
    await eventually(() => lifecycle.unsafeSnapshot().phase === "shutting_down")
    expect((await request("/health/live")).status).toBe(200)
    expect((await request("/health/ready")).status).toBe(503)
    expect((await request("/items/a")).status).toBe(503)
    expect(answered).toBe(false)
    await Effect.runPromise(latch.open)
    const bodies = await Promise.all(answers)
    await waiting
    for (const { headers, json, status } of bodies) {
      expect(status).toBe(200)
      expect(headers.connection).toBe("close")
      expect(json).toEqual({
        clean: false,
        flushed_wal: true,
        final_checkpoint: true,
        filter_snapshot: true,
        items_flushed: 3,
        items_left_in_log: 0,
        problems: ["backup: no"],
        started_at_ms: startedAtMs,
        completed_at_ms: startedAtMs + 5,
        duration_ms: 5
      })
    }
    expect((await request("/health/live")).status).toBe(503)
  })

  it("is not answered while an answer is still to be sent", async () => {
    const server = await start()
    const latch = Effect.unsafeMakeLatch(false)
    server.fake.afterReport = latch.await
    const answer = server.request("/admin/shutdown", { method: "POST" })
    let answered = false
    const waiting = server.awaitShutdownAnswered.then(() => {
      answered = true
    })
    await eventually(() => server.lifecycle.unsafeSnapshot().phase === "stopped")
    // A whole request later the first one's answer is still to be sent.
    expect((await server.request("/health/live")).status).toBe(503)
    expect(answered).toBe(false)
    await Effect.runPromise(latch.open)
    await waiting
    await server.close()
    expect((await answer).status).toBe(200)
  })

  it("goes on when its client goes away, and does not wait for it", async () => {
    const server = await start()
    const latch = Effect.unsafeMakeLatch(false)
    server.fake.beforeReport = latch.await
    const socket = await server.connect()
    socket.write("POST /admin/shutdown HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
    await eventually(() => server.lifecycle.unsafeSnapshot().phase === "shutting_down")
    socket.destroy()
    await Effect.runPromise(latch.open)
    await server.awaitShutdownAnswered
    expect(server.lifecycle.unsafeSnapshot().phase).toBe("stopped")
  })
})
