import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import Database from "better-sqlite3"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { missing, startLoad } from "./load.js"
import { cli, inspect, killAll, logLines, reportsOf, startDaemon, until } from "./support.js"

let directory: string
let dataDir: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "sync-engine-shutdown-"))
  dataDir = join(directory, "data")
})
afterEach(async () => {
  await killAll()
  rmSync(directory, { recursive: true, force: true })
})

/** Nothing is flushed before the end. */
const hoarding = ["--batch-flush-interval", "1h", "--batch-flush-count", "100000"]

const put = async (url: string, count: number) => {
  const lines = Array.from({ length: count }, (_, index) => `{"id":"item.${index}","content":${index}}`)
  const response = await fetch(`${url}/items?results=rejected`, {
    method: "POST",
    headers: { "content-type": "application/x-ndjson" },
    body: lines.join("\n")
  })
  expect(await response.json()).toEqual({ summary: { lines: count, acknowledged: count, rejected: 0 } })
}

/** A log that holds so many writes, from an engine without an archive. */
const fillLog = async (count: number) => {
  const file = join(directory, "items.ndjson")
  writeFileSync(
    file,
    Array.from({ length: count }, (_, index) => `{"id":"item.${index}","content":${index}}\n`).join("")
  )
  const loaded = await cli(["ingest", file, "--json", "--data-dir", dataDir, "--sql-url", "none"])
  expect(JSON.parse(loaded.out)).toMatchObject({ acknowledged: count, rejected: 0, root: null })
  expect(loaded.code).toBe(1)
  expect(reportsOf(loaded.err)).toMatchObject([{ clean: false, items_left_in_log: count }])
}

/** How many writes a start found in the log. */
const foundInLog = (err: string): number => {
  const line = logLines(err).find(({ message }) => message.startsWith("the log holds"))
  return Number(/the log holds (\d+) writes/.exec(line?.message ?? "")?.[1] ?? 0)
}

describe("SIGTERM", () => {
  it.each([
    ["everything is left to the last flush", hoarding],
    ["batches are flushed all the time", ["--batch-flush-count", "20", "--batch-flush-interval", "5ms"]]
  ])("under load, %s: one clean report, code 0, nothing lost", async (_, flags) => {
    const daemon = await startDaemon(["--data-dir", dataDir, ...flags])
    const load = startLoad(daemon.url, { clients: 8, seed: 7 })
    await until("answers", () => load.answers() > 300, { shown: daemon.err })
    daemon.child.kill("SIGTERM")
    const result = await daemon.ended
    await load.ended
    expect([result.code, result.signal]).toEqual([0, null])
    expect(result.out).toBe("")
    const reports = reportsOf(result.err)
    expect(reports).toHaveLength(1)
    expect(reports[0]).toMatchObject({
      clean: true,
      flushed_wal: true,
      final_checkpoint: true,
      items_left_in_log: 0,
      problems: []
    })
    if (flags === hoarding) expect(reports[0]!.items_flushed).toBeGreaterThanOrEqual(load.acknowledged.size)
    // Who was refused was told so.
    expect([...load.refusals.keys()].filter((status) => status !== 503)).toEqual([])

    expect(missing(load, await inspect(dataDir))).toEqual([])
    const again = await startDaemon(["--data-dir", dataDir])
    expect(foundInLog(again.err())).toBe(0)
    again.child.kill("SIGINT")
    expect((await again.ended).code).toBe(0)
  })

  it("SIGHUP ends nothing, SIGQUIT shuts down", async () => {
    const daemon = await startDaemon(["--data-dir", dataDir, ...hoarding])
    daemon.child.kill("SIGHUP")
    await until("the notice", () => daemon.err().includes("SIGHUP is ignored"))
    await put(daemon.url, 20)
    daemon.child.kill("SIGQUIT")
    const result = await daemon.ended
    expect([result.code, result.signal]).toEqual([0, null])
    expect(reportsOf(result.err)).toMatchObject([{ clean: true, items_flushed: 20 }])
  })

  it("a second signal does not skip the flush", async () => {
    const daemon = await startDaemon(["--data-dir", dataDir, "--shutdown-delay", "400ms", ...hoarding])
    await put(daemon.url, 2_000)
    daemon.child.kill("SIGTERM")
    await until("the shutdown", () => daemon.err().includes("SIGTERM: shutting down"))
    daemon.child.kill("SIGTERM")
    daemon.child.kill("SIGINT")
    const result = await daemon.ended
    expect([result.code, result.signal]).toEqual([0, null])
    expect(result.err.match(/is not cut short/g)).toHaveLength(2)
    expect(reportsOf(result.err)).toMatchObject([{ clean: true, items_flushed: 2_000, items_left_in_log: 0 }])
    expect((await inspect(dataDir)).size).toBe(2_000)
  })

  it("during a start with much to carry: one report, and what the log held is archived or still there", async () => {
    await fillLog(20_000)
    const daemon = await startDaemon(["--data-dir", dataDir], { awaited: "the log holds 20000 writes" })
    daemon.child.kill("SIGTERM")
    const result = await daemon.ended
    expect(result.err).not.toContain('"message":"ready"')
    expect([result.code, result.signal]).toEqual([0, null])
    expect(reportsOf(result.err)).toMatchObject([{ clean: true, items_left_in_log: 0 }])
    expect((await inspect(dataDir)).size).toBe(20_000)
  })

  it("as soon as it listens: ends with a report", async () => {
    const daemon = await startDaemon(["--data-dir", dataDir], { awaited: "listening on" })
    daemon.child.kill("SIGTERM")
    const result = await daemon.ended
    expect([result.code, result.signal]).toEqual([0, null])
    expect(reportsOf(result.err)).toMatchObject([{ clean: true, items_left_in_log: 0 }])
  })
})

describe("POST /admin/shutdown", () => {
  const shutdown = async (url: string) => {
    const response = await fetch(`${url}/admin/shutdown`, { method: "POST" })
    return { status: response.status, body: await response.json() }
  }

  it("answers the whole report, then the process ends with its code", async () => {
    const daemon = await startDaemon(["--data-dir", dataDir, ...hoarding])
    await put(daemon.url, 500)
    const answer = await shutdown(daemon.url)
    expect(answer.status).toBe(200)
    expect(answer.body).toMatchObject({ clean: true, items_flushed: 500, items_left_in_log: 0 })
    const result = await daemon.ended
    expect([result.code, result.signal]).toEqual([0, null])
    expect(reportsOf(result.err)).toEqual([answer.body])
  })

  it("twice, with SIGTERM in the middle: one report for all", async () => {
    const daemon = await startDaemon(["--data-dir", dataDir, "--shutdown-delay", "300ms", ...hoarding])
    const load = startLoad(daemon.url, { clients: 4, seed: 8 })
    await until("answers", () => load.answers() > 100, { shown: daemon.err })
    const first = shutdown(daemon.url)
    await until("the request", () => daemon.err().includes("not ready any more"), { shown: daemon.err })
    daemon.child.kill("SIGTERM")
    const second = shutdown(daemon.url)
    const answers = await Promise.all([first, second])
    const result = await daemon.ended
    await load.ended
    expect([result.code, result.signal]).toEqual([0, null])
    const reports = reportsOf(result.err)
    expect(reports).toHaveLength(1)
    expect(answers).toEqual([
      { status: 200, body: reports[0] },
      { status: 200, body: reports[0] }
    ])
    expect(reports[0]).toMatchObject({ clean: true, items_left_in_log: 0 })
    expect(missing(load, await inspect(dataDir))).toEqual([])
  })

  it("after SIGTERM gets the same report", async () => {
    const daemon = await startDaemon(["--data-dir", dataDir, "--shutdown-delay", "300ms", ...hoarding])
    await put(daemon.url, 100)
    daemon.child.kill("SIGTERM")
    await until("the shutdown", () => daemon.err().includes("SIGTERM: shutting down"))
    const answer = await shutdown(daemon.url)
    const result = await daemon.ended
    expect([result.code, result.signal]).toEqual([0, null])
    expect(reportsOf(result.err)).toEqual([answer.body])
    expect(answer.body).toMatchObject({ clean: true, items_flushed: 100 })
  })
})

describe("a shutdown that cannot be clean", () => {
  it("the archive is locked by another process: code 1, the report counts what is left, the next start recovers it", async () => {
    const daemon = await startDaemon(["--data-dir", dataDir, "--shutdown-timeout", "1500ms"])
    await put(daemon.url, 30)
    await fetch(`${daemon.url}/admin/flush`, { method: "POST" })
    const other = new Database(join(dataDir, "archive.db"))
    try {
      other.exec("BEGIN EXCLUSIVE")
      const load = startLoad(daemon.url, { clients: 4, seed: 9 })
      await until("answers", () => load.answers() > 100, { shown: daemon.err })
      load.stop()
      await load.ended
      daemon.child.kill("SIGTERM")
      const result = await daemon.ended
      expect([result.code, result.signal]).toEqual([1, null])
      const reports = reportsOf(result.err)
      expect(reports).toHaveLength(1)
      expect(reports[0]).toMatchObject({
        clean: false,
        flushed_wal: false,
        items_flushed: 0,
        items_left_in_log: load.answers()
      })
      expect(result.err).toContain(`${load.answers()} acknowledged writes are safe in the log`)

      other.exec("ROLLBACK")
      const again = await startDaemon(["--data-dir", dataDir])
      expect(foundInLog(again.err())).toBe(load.answers())
      again.child.kill("SIGTERM")
      expect((await again.ended).code).toBe(0)
      expect(missing(load, await inspect(dataDir))).toEqual([])
    } finally {
      other.close()
    }
  })

  it("there is no time: code 1, the report counts what is left, the next start recovers it", async () => {
    const count = 30_000
    await fillLog(count)
    const daemon = await startDaemon(
      ["--data-dir", dataDir, "--shutdown-timeout", "100ms", "--batch-flush-count", "200"],
      { awaited: `the log holds ${count} writes` }
    )
    daemon.child.kill("SIGTERM")
    const result = await daemon.ended
    expect([result.code, result.signal]).toEqual([1, null])
    const [report, ...others] = reportsOf(result.err)
    expect(others).toEqual([])
    expect(report).toMatchObject({ clean: false, flushed_wal: false })
    const left = Number(report!.items_left_in_log)
    expect(left).toBeGreaterThan(0)
    expect(left).toBeLessThanOrEqual(count - Number(report!.items_flushed))
    expect(result.err).toContain(`${left} acknowledged writes are safe in the log`)

    const again = await startDaemon(["--data-dir", dataDir])
    expect(foundInLog(again.err())).toBe(left)
    again.child.kill("SIGTERM")
    expect((await again.ended).code).toBe(0)
    expect((await inspect(dataDir)).size).toBe(count)
  })
})
