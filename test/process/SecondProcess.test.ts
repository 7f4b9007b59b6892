import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { missing, startLoad } from "./load.js"
import { cli, inspect, killAll, type Result, startDaemon, until } from "./support.js"

let directory: string
let dataDir: string
let log: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "sync-engine-second-"))
  dataDir = join(directory, "data")
  log = join(dataDir, "wal.db")
})
afterEach(async () => {
  await killAll()
  rmSync(directory, { recursive: true, force: true })
})

const expectRefused = (result: Result, ...words: ReadonlyArray<string>) => {
  expect([result.code, result.signal], result.err).toEqual([1, null])
  for (const word of words) expect(result.err).toContain(word)
  // An expected error, not a crash.
  expect(result.err).not.toMatch(/^\s+at /m)
}

describe("a log that another process has open", () => {
  it("is refused with its path, and the first process goes on unharmed", async () => {
    const daemon = await startDaemon(["--data-dir", dataDir])
    const load = startLoad(daemon.url, { clients: 4, seed: 11 })
    await until("answers", () => load.answers() > 20, { shown: daemon.err })
    const file = join(directory, "items.ndjson")
    writeFileSync(file, '{"id":"intruder","content":1}\n')

    const run = ["run", "--http-port", "0"]
    const attempts = [
      cli([...run, "--data-dir", dataDir]),
      cli([...run, "--data-dir", join(directory, "other"), "--wal-path", log]),
      cli(["ingest", file, "--data-dir", dataDir, "--json"]),
      cli(["verify", "--offline", "--data-dir", dataDir])
    ]
    for (const attempt of attempts) {
      const result = await attempt
      expectRefused(result, log, "another process holds it", "Durability cannot be guaranteed", "--url")
      expect(result.out).toBe("")
    }
    const before = load.answers()
    await until("more answers", () => load.answers() > before + 20, { shown: daemon.err })
    load.stop()
    await load.ended
    expect([...load.refusals]).toEqual([])
    daemon.child.kill("SIGTERM")
    const ended = await daemon.ended
    expect(ended.code, ended.err).toBe(0)

    const items = await inspect(dataDir)
    expect(missing(load, items)).toEqual([])
    expect(items.has("intruder")).toBe(false)
  })

  it("is free again at once when its process was killed", async () => {
    const daemon = await startDaemon(["--data-dir", dataDir])
    const load = startLoad(daemon.url, { clients: 4, seed: 12 })
    await until("answers", () => load.answers() > 50, { shown: daemon.err })
    daemon.child.kill("SIGKILL")
    expect((await daemon.ended).signal).toBe("SIGKILL")
    await load.ended
    expect(missing(load, await inspect(dataDir))).toEqual([])
  })
})

describe("a damaged log", () => {
  /** A log with entries that no archive has, and where one of them stands in the file. */
  const makeLog = async () => {
    const file = join(directory, "items.ndjson")
    const lines = Array.from(
      { length: 200 },
      (_, index) => `{"id":"item.${index}","content":"content-${index}-${"x".repeat(100)}"}\n`
    )
    writeFileSync(file, lines.join(""))
    await cli(["ingest", file, "--data-dir", dataDir, "--sql-url", "none"])
    return readFileSync(log).indexOf("content-100-")
  }

  it("is not started with: code 1, the path, and that durability cannot be guaranteed", async () => {
    const position = await makeLog()
    expect(position).toBeGreaterThan(0)
    const file = readFileSync(log)
    file[position] = file[position]! ^ 1
    writeFileSync(log, file)
    const damaged = readFileSync(log)

    const words = [log, "Durability cannot be guaranteed", "damaged"]
    expectRefused(await cli(["run", "--http-port", "0", "--data-dir", dataDir]), ...words)
    expectRefused(await cli(["ingest", join(directory, "items.ndjson"), "--data-dir", dataDir]), ...words)
    expectRefused(await cli(["status", "--offline", "--data-dir", dataDir]), ...words)
    const doctor = await cli(["doctor", "--json", "--data-dir", dataDir, "--url", "http://127.0.0.1:9"])
    expect(doctor.code).toBe(1)
    expect(doctor.out).toContain(log)
    // Whoever wants to rescue it finds it as it was.
    expect(readFileSync(log).equals(damaged)).toBe(true)

    // Mended, it gives back all it holds.
    file[position] = file[position]! ^ 1
    writeFileSync(log, file)
    expect((await inspect(dataDir)).size).toBe(200)
  })

  it("that lost its end, or is something else altogether, is refused too", async () => {
    await makeLog()
    const whole = readFileSync(log)
    const words = [log, "Durability cannot be guaranteed"]
    const start = ["run", "--http-port", "0"]
    for (const [name, bytes] of [
      ["cut", whole.subarray(0, whole.length - 20_000)],
      ["text", Buffer.from("this is no database\n".repeat(100))],
      ["short", Buffer.from("x")]
    ] as const) {
      const copy = join(directory, name)
      cpSync(dataDir, copy, { recursive: true })
      writeFileSync(join(copy, "wal.db"), bytes)
      const result = await cli([...start, "--data-dir", copy])
      expectRefused(result, ...words.slice(1), join(copy, "wal.db"))
    }
    rmSync(log)
    writeFileSync(join(directory, "file"), "")
    expectRefused(
      await cli([...start, "--data-dir", dataDir, "--wal-path", join(directory, "file", "wal.db")]),
      join(directory, "file", "wal.db"),
      words[1]!
    )
  })
})
