import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { type AddressInfo, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Either, Redacted } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import {
  checkDirectory,
  checkHttp,
  checkLog,
  checkNode,
  checkSpace,
  checkSql
} from "../../../src/cli/doctor/Doctor.js"
import type { ServerConfig } from "../../../src/config/Model.js"
import { serverOptions } from "../../../src/config/Options.js"
import { fromPartial } from "../../../src/EngineConfig.js"
import { LogOpenError } from "../../../src/EngineError.js"
import { cli, makeWorld } from "../support.js"

const directory = mkdtempSync(join(tmpdir(), "sync-engine-doctor-"))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const configOf = (sqlUrl: string) =>
  Either.getOrThrow(
    fromPartial({ dataDir: directory, sqlUrl: Redacted.make(sqlUrl), sqlConnectTimeout: 1_000 })
  )

const serverDefaults = () =>
  Object.fromEntries(
    serverOptions.map(({ definition, key }) => [key, definition.default])
  ) as unknown as ServerConfig

const sql = (url: string) => Effect.runPromise(checkSql(configOf(url)))

describe("doctor's checks", () => {
  it("Node.js", () => {
    expect(checkNode("20.18.9")).toMatchObject({ ok: false, advice: "install a newer Node.js" })
    const refused = ["18.20.8", "20.9.0", "21.7.3", "22.0.0", "22.9.0", "22.13.1"]
    const taken = ["20.19.0", "20.20.1", "22.14.0", "22.23.3", "24.0.0", "26.4.1"]
    const all = [...refused, ...taken]
    expect(all.filter((version) => checkNode(version).ok)).toEqual(taken)
  })

  it("the data directory", () => {
    writeFileSync(join(directory, "file"), "")
    expect(checkDirectory(directory).ok).toBe(true)
    expect(checkDirectory(join(directory, "not", "yet"))).toMatchObject({
      ok: true,
      found: expect.stringContaining("can be made")
    })
    expect(checkDirectory(join(directory, "file"))).toMatchObject({
      ok: false,
      found: expect.stringContaining("not a directory")
    })
    const closed = join(directory, "closed")
    mkdirSync(closed)
    chmodSync(closed, 0o500)
    // Root may write everywhere.
    expect(checkDirectory(join(closed, "x")).ok).toBe(process.getuid?.() === 0)
  })

  it("disk space, against what the log may take", () => {
    expect(checkSpace(directory, 1).ok).toBe(true)
    expect(checkSpace(join(directory, "not", "yet"), 2 ** 60)).toMatchObject({
      ok: false,
      advice: expect.stringContaining("--wal-max-bytes")
    })
  })

  it("SQL", async () => {
    expect(await sql("none")).toMatchObject({ ok: true, found: expect.stringContaining("none configured") })
    expect(await sql("sqlite:")).toMatchObject({ ok: true, found: expect.stringContaining("will be made") })
    writeFileSync(
      join(directory, "broken.db"),
      "this is no database, but it is long enough to look like one".repeat(20)
    )
    expect((await sql(`sqlite:${join(directory, "broken.db")}`)).ok).toBe(false)
    const server = createServer()
    const port = await new Promise<number>((resolve) =>
      server.listen(0, "127.0.0.1", () => resolve((server.address() as { readonly port: number }).port))
    )
    // Something listens there, but it is no database.
    const mute = await sql(`mysql://u:hunter2@127.0.0.1:${port}/db`)
    expect(mute).toMatchObject({
      ok: false,
      found: expect.stringMatching(/no handshake|not ready within 1000 ms/)
    })
    await new Promise((resolve) => server.close(resolve))
    const away = await sql(`mysql://u:hunter2@127.0.0.1:${port}/db`)
    expect(away).toMatchObject({ ok: false, found: expect.stringContaining("ECONNREFUSED") })
    expect(JSON.stringify(away)).not.toContain("hunter2")
  })

  it("the log: fine, held by a daemon, held by somebody, damaged", async () => {
    const path = join(directory, "wal.db")
    const check = (tryOpen: Effect.Effect<void, LogOpenError>, where: string | undefined) =>
      Effect.runPromise(checkLog(path, tryOpen, Effect.succeed(where)))
    const held = Effect.fail(new LogOpenError({ path, kind: "in-use", problem: "it is in use" }))
    expect(await check(Effect.dieMessage("there is no file to open"), undefined)).toMatchObject({
      ok: true,
      found: expect.stringContaining("will be made")
    })
    writeFileSync(path, "")
    expect((await check(Effect.void, undefined)).ok).toBe(true)
    expect(await check(held, "http://h:1")).toMatchObject({
      ok: true,
      found: expect.stringContaining("http://h:1")
    })
    expect((await check(held, undefined)).ok).toBe(false)
    const damaged = new LogOpenError({ path, kind: "damaged", problem: "page 3 does not add up" })
    expect(await check(Effect.fail(damaged), undefined)).toMatchObject({
      ok: false,
      found: expect.stringContaining("page 3")
    })
    rmSync(path)
  })
})

describe("doctor on HTTP", () => {
  const http = (change: Partial<ServerConfig>, daemon?: string) =>
    Effect.runPromise(
      checkHttp({ ...serverDefaults(), httpPort: 0, ...change }, () => Effect.succeed(daemon))
    )

  it("says what the start would refuse", async () => {
    expect(await http({})).toMatchObject({ ok: true })
    for (const httpHost of ["0.0.0.0", "::", "nowhere.invalid"]) {
      expect(await http({ httpHost }), httpHost).toMatchObject({
        ok: false,
        found: expect.stringContaining("HTTP_HOST"),
        advice: expect.any(String)
      })
    }
    expect(await http({ httpHost: "0.0.0.0", adminToken: Redacted.make("hunter2") })).toMatchObject({
      ok: true
    })
    const spaced = await http({ adminToken: Redacted.make("hunter 2") })
    expect(spaced).toMatchObject({ ok: false, found: expect.stringContaining("ADMIN_TOKEN") })
    expect(JSON.stringify(spaced)).not.toContain("hunter 2")
  })

  it("a port in use is well only when a daemon answers there", async () => {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const httpPort = (server.address() as AddressInfo).port
    expect(await http({ httpPort })).toMatchObject({ ok: false, found: expect.stringContaining("in use") })
    expect(await http({ httpPort }, "http://h:1")).toMatchObject({ ok: true })
    await new Promise((resolve) => server.close(resolve))
  })

  it("takes the server's options as run does", async () => {
    const given = await Effect.runPromise(
      cli(makeWorld(), ["doctor", "--data-dir", directory, "--http-port", "0", "--http-host", "0.0.0.0"])
    )
    expect(given.code).toBe(1)
    expect(given.out).toContain("PROBLEM  HTTP")
  })
})

describe("doctor", () => {
  it("lists every check, changes nothing, and ends with 0 or 1", async () => {
    const target = join(directory, "fresh")
    const good = await Effect.runPromise(
      cli(makeWorld(), [
        "doctor",
        "--data-dir",
        target,
        "--json",
        "--wal-max-bytes",
        "16MiB",
        "--http-port",
        "0"
      ])
    )
    expect(JSON.parse(good.out).checks.map(({ name }: { readonly name: string }) => name)).toEqual([
      "node",
      "data directory",
      "log",
      "SQL",
      "Redis",
      "HTTP",
      "disk space"
    ])
    expect(good).toMatchObject({ code: 0 })
    expect(checkDirectory(target).found).toContain("can be made")
    const bad = await Effect.runPromise(cli(makeWorld(), ["doctor", "--data-dir", join(directory, "file")]))
    expect(bad.code).toBe(1)
    expect(bad.out).toContain("PROBLEM  data directory")
  })
})
