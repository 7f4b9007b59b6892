import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { ArchiveError } from "../../src/archive/ArchiveError.js"
import type { MemoryArchiveCall } from "../../src/archive/memory/MemoryArchive.js"
import { cli, makeWorld, type World, withDaemon } from "./support.js"

/** Command lines against a daemon over HTTP. */
const against = (
  world: World,
  use: (run: (...args: ReadonlyArray<string>) => Promise<Awaited<ReturnType<typeof once>>>) => Promise<void>
) =>
  Effect.runPromise(
    withDaemon(world, ({ env }) =>
      Effect.promise(() => use((...args) => Effect.runPromise(cli(world, args, { env }))))
    )
  )

const once = (world: World, args: ReadonlyArray<string>, stdin?: string | Uint8Array, env = {}) =>
  Effect.runPromise(cli(world, args, { env, ...(stdin === undefined ? {} : { stdin }) }))

const refuseCommitOf = (id: string) => (call: MemoryArchiveCall) =>
  call.operation === "commit" && call.records?.some((record) => record.id === id) === true
    ? Effect.fail(new ArchiveError({ operation: "commit", kind: "permanent", problem: "too odd" }))
    : Effect.void

describe("items through a daemon", () => {
  it("writes, reads, compares and deletes", () =>
    against(makeWorld(), async (run) => {
      const put = await run("put", "a.b", "--content", '{"x": 1.0}', "--state", "new", "--json")
      expect(put.code).toBe(0)
      const receipt = JSON.parse(put.out)
      expect(receipt).toMatchObject({ id: "a.b", durability: "wal", previous_version: null })

      const get = await run("get", "a.b")
      expect(get).toMatchObject({ code: 0, out: '{"x": 1.0}', err: "" })
      const full = JSON.parse((await run("get", "a.b", "--json")).out)
      expect(full).toMatchObject({
        id: "a.b",
        version: receipt.version,
        content_type: "json",
        content_hash: receipt.content_hash,
        state: "new",
        traceparent: null,
        content: { x: 1 }
      })

      const stale = await run("put", "a.b", "--content", "2", "--if-version", "1")
      expect(stale.code).toBe(1)
      expect(stale.err).toMatch(/^sync-engine: item "a\.b": expected version 1, found \d+; read it again\n$/)
      const taken = await run("put", "a.b", "--content", "2", "--if-version", "0")
      expect(taken.code).toBe(1)
      expect((await run("put", "a.b", "--content", "2", "--if-version", String(receipt.version))).code).toBe(
        0
      )

      const removed = JSON.parse((await run("delete", "a.b", "never", "--json")).out.split("\n")[0] ?? "")
      expect(removed.version).toBeGreaterThan(receipt.version)
      const gone = await run("get", "a.b")
      expect(gone).toMatchObject({ code: 1, out: "", err: 'sync-engine: no item "a.b"\n' })
    }))

  it("carries ids, states and bytes of any kind", () =>
    against(makeWorld(), async (run) => {
      const id = "ü/ %?#.日本"
      expect((await run("put", id, "--content", "x", "--state", "nächste Woche")).code).toBe(0)
      expect(JSON.parse((await run("get", id, "--json")).out)).toMatchObject({ id, state: "nächste Woche" })
      expect((await run("scan", "--state", "nächste Woche", "--ids")).out).toBe(`${id}\n`)
    }))

  it("takes content from standard input, byte for byte", () => {
    const world = makeWorld()
    const bytes = new Uint8Array([0, 255, 10, 13, 195, 40])
    return Effect.runPromise(
      withDaemon(world, ({ env }) =>
        Effect.gen(function* () {
          yield* cli(world, ["put", "raw", "-"], { env, stdin: bytes })
          const get = yield* cli(world, ["get", "raw"], { env })
          expect(new Uint8Array(get.bytes)).toEqual(bytes)
        })
      )
    )
  })

  it("scans in pages, by prefix, by state, with a limit; the JSON can be ingested again", async () => {
    const world = makeWorld()
    const other = makeWorld()
    let dump = ""
    const input = Array.from(
      { length: 2_300 },
      (_, index) => `{"id":"n.${index}","content":{"i": ${index}}${index % 500 === 0 ? ',"state":"s"' : ""}}`
    ).join("\n")
    const loaded = await once(world, ["ingest", "-", "--json"], input)
    expect(loaded.code).toBe(0)
    const { root } = JSON.parse(loaded.out)
    await against(world, async (run) => {
      expect((await run("scan", "--ids")).out.split("\n").length - 1).toBe(2_300)
      expect((await run("scan", "--ids", "--limit", "1500")).out.split("\n").length - 1).toBe(1_500)
      expect((await run("scan", "n.1", "--ids")).out).toBe("n.1\n")
      expect((await run("scan", "n", "--state", "s", "--ids")).out).toBe(
        "n.0\nn.1000\nn.1500\nn.2000\nn.500\n"
      )
      expect((await run("scan", "other")).out).toBe("")
      expect((await run("scan", "--limit", "1")).out).toMatch(/^\d{16} +8 +s +n\.0\n$/)
      dump = (await run("scan", "--json")).out
    })
    const again = await once(other, ["ingest", "-", "--json"], dump)
    expect(JSON.parse(again.out)).toMatchObject({ items: 2_300, acknowledged: 2_300, rejected: 0 })
    const copy = (await once(other, ["scan", "--offline", "--data-dir", ".", "--json"])).out
    expect(copy).toBe(dump)
    expect(root).toMatch(/^[0-9a-f]{64}$/)
  })
})

describe("ingest", () => {
  const input =
    '{"id":"a","content":1}\nnope\n{"id":"b","content":1,"ttlSeconds":5}\n{"id":"c","contentBase64":"AAEC"}'

  it("into a daemon: counts, reports lines, ends with the root and code 1 for rejected lines", () => {
    const world = makeWorld()
    return Effect.runPromise(
      withDaemon(world, ({ env }) =>
        Effect.gen(function* () {
          const url = env.SYNC_ENGINE_URL ?? ""
          const result = yield* cli(world, ["ingest", "-", "--url", url, "--json"], { stdin: input })
          expect(result.code).toBe(1)
          const summary = JSON.parse(result.out)
          expect(Object.keys(summary)).toEqual([
            "items",
            "acknowledged",
            "rejected",
            "seconds",
            "items_per_second",
            "root"
          ])
          expect(summary).toMatchObject({ items: 4, acknowledged: 2, rejected: 2 })
          const lines = result.err.split("\n")
          expect(lines[0]).toMatch(/^line 2: is not valid JSON/)
          expect(lines[1]).toMatch(/^line 3: .*no cache is configured/)
          expect(lines[2]).toBe("sync-engine: 2 of 4 lines were rejected")
          const verified = JSON.parse((yield* cli(world, ["verify", "--json"], { env })).out)
          expect(verified.archive_root).toBe(summary.root)
        })
      )
    )
  })

  it("in process: everything is archived when it ends", async () => {
    const world = makeWorld()
    const result = await once(world, ["ingest", "-", "--json"], input)
    expect(result.code).toBe(1)
    expect(JSON.parse(result.out)).toMatchObject({ items: 4, acknowledged: 2, rejected: 2 })
    expect([...world.state.records.keys()].sort()).toEqual(["a", "c"])
    expect(world.disk.entries.length).toBe(0)
  })

  it("keeps what is acknowledged when the archive is away, and says so", async () => {
    const world = makeWorld()
    world.hooks.before = ({ operation }) =>
      operation === "commit" || operation === "ping"
        ? Effect.fail(new ArchiveError({ operation, kind: "transient", problem: "gone away" }))
        : Effect.void
    const result = await once(
      world,
      ["ingest", "-", "--json", "--shutdown-timeout", "300ms"],
      '{"id":"a","content":1}'
    )
    expect(result.code).toBe(1)
    expect(JSON.parse(result.out)).toMatchObject({ acknowledged: 1, root: null })
    expect(world.disk.entries.length).toBe(1)
    delete world.hooks.before
    await once(world, ["flush", "--offline", "--data-dir", "."])
    expect([...world.state.records.keys()]).toEqual(["a"])
  })

  it("shows the first bad lines and counts the others", async () => {
    const result = await once(makeWorld(), ["ingest", "-", "--show-errors", "2"], "x\ny\nz\n")
    expect(result.code).toBe(1)
    expect(result.err.split("\n").slice(2, 5)).toEqual([
      "more bad lines are only counted from here on",
      "3 bad lines in all",
      "sync-engine: 3 of 3 lines were rejected"
    ])
  })
})

describe("operation", () => {
  it("status, verify, flush, drain, shutdown of a daemon", () =>
    against(makeWorld(), async (run) => {
      await run("put", "a", "--content", "1")
      expect(JSON.parse((await run("flush", "--json")).out)).toMatchObject({ dead_lettered: 0, pending: 0 })
      expect(JSON.parse((await run("status", "--json")).out)).toMatchObject({
        health: { lifecycle: { phase: "ready" } },
        stats: { acknowledged: 1 }
      })
      expect((await run("status")).out).toMatch(/^health\.lifecycle\.phase +ready\n/)
      const verified = JSON.parse((await run("verify", "--json")).out)
      expect(Object.keys(verified)).toEqual([
        "in_sync",
        "archive_root",
        "recomputed_root",
        "cache_root",
        "rows_checked",
        "differences"
      ])
      expect(verified).toMatchObject({ in_sync: true, cache_root: null, rows_checked: 1, differences: [] })
      expect((await run("drain")).out).toMatch(/^draining/)
      expect(JSON.parse((await run("drain", "--json")).out)).toEqual({ changed: false })
      expect(await run("put", "b", "--content", "1")).toMatchObject({
        code: 1,
        err: "sync-engine: no writes while draining\n"
      })
      expect((await run("get", "a")).out).toBe("1")
      const report = await run("shutdown", "--json")
      expect(report.code).toBe(0)
      expect(JSON.parse(report.out)).toMatchObject({ clean: true, items_left_in_log: 0, problems: [] })
    }))

  it("verify ends with 1 and the difference when rows and root differ", async () => {
    const world = makeWorld()
    await once(world, ["ingest", "-"], '{"id":"a","content":1}\n{"id":"b","content":2}')
    world.state.remove("b")
    const result = await once(world, ["verify", "--offline", "--data-dir", ".", "--json"])
    expect(result.code).toBe(1)
    const found = JSON.parse(result.out)
    expect(found).toMatchObject({
      in_sync: false,
      rows_checked: 1,
      differences: [{ tier: "archive", root: found.archive_root }]
    })
    expect(found.archive_root).not.toBe(found.recomputed_root)
    expect(result.err).toBe("sync-engine: the archive's rows and its root differ\n")
  })

  it("lists, retries and drops dead letters", async () => {
    const world = makeWorld()
    world.hooks.before = refuseCommitOf("odd")
    await against(world, async (run) => {
      await run("put", "odd", "--content", "1")
      await run("put", "good", "--content", "1")
      await run("flush")
      const letter = JSON.parse((await run("dead-letters", "list", "--json")).out)
      expect(letter).toMatchObject({ id: "odd" })
      expect(letter.reason).toContain("too odd")
      expect((await run("dead-letters", "list")).out).toContain(letter.reason)
      delete world.hooks.before
      expect((await run("dead-letters", "retry", String(letter.sequence))).out).toBe(
        "1 put back into the log\n"
      )
      await run("flush")
      expect([...world.state.records.keys()].sort()).toEqual(["good", "odd"])
      world.hooks.before = refuseCommitOf("odder")
      await run("put", "odder", "--content", "1")
      await run("flush")
      expect(JSON.parse((await run("dead-letters", "drop", "--all", "--json")).out)).toEqual({ dropped: 1 })
      expect((await run("dead-letters", "list")).out).toBe("no dead letters\n")
      expect((await run("dead-letters", "list", "--json")).out).toBe("")
    })
  })
})

describe("the token", () => {
  it("is needed where one is configured, from an option, a variable or a file", () => {
    const world = makeWorld()
    return Effect.runPromise(
      withDaemon(
        world,
        ({ env }) =>
          Effect.gen(function* () {
            const refused = yield* cli(world, ["status"], { env })
            expect(refused.code).toBe(1)
            expect(refused.err).toContain("pass --token or --token-file")
            expect((yield* cli(world, ["status", "--token", "wrong"], { env })).code).toBe(1)
            expect((yield* cli(world, ["status", "--token", "s3cret"], { env })).code).toBe(0)
            expect(
              (yield* cli(world, ["status"], { env: { ...env, SYNC_ENGINE_ADMIN_TOKEN: "s3cret" } })).code
            ).toBe(0)
            const missing = yield* cli(world, ["status", "--token-file", "/nowhere/token"], { env })
            expect(missing.code).toBe(2)
            for (const args of [
              ["--token", "two words"],
              ["--token", "line\nbreak"],
              ["--token", "schl\u00fcssel"],
              // Without an end, and empty.
              ["--token-file", "/dev/zero"],
              ["--token-file", "/dev/null"],
              ["--token-file", "/"]
            ]) {
              const { code, err } = yield* cli(world, ["status", ...args], { env })
              expect([args, code, err]).toEqual([args, 2, expect.stringMatching(/^sync-engine: .*token/)])
              expect(err).not.toMatch(/two words|schl/)
            }
          }),
        ["--admin-token", "s3cret"]
      )
    )
  })
})
