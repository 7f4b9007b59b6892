/** What a short command costs: it loads neither engine nor drivers, and little else. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { command, type Daemon, killAll, start, startDaemon } from "./support.js"

/** The sources, and the packages by name, that loading these files of the bundle loads. */
const loadedBy = (entries: ReadonlyArray<string>): ReadonlySet<string> => {
  const seen = new Set<string>()
  const loaded = new Set<string>()
  const walk = (file: string) => {
    if (seen.has(file)) return
    seen.add(file)
    const text = readFileSync(file, "utf8")
    for (const [, source = ""] of text.matchAll(/^\/\/ ((?:src|node_modules)\/\S+)$/gm)) loaded.add(source)
    for (const [, name = ""] of text.matchAll(/^(?:import|export) (?:[^"]*? from )?"([^"]+)";/gm)) {
      if (name.startsWith(".")) walk(resolve(dirname(file), name))
      else loaded.add(name)
    }
  }
  entries.forEach(walk)
  return loaded
}

const chunk = (name: string): string => {
  const folder = join(dirname(command), "chunks")
  const found = readdirSync(folder).filter((file) => file.startsWith(`${name}-`))
  if (found.length !== 1) throw new Error(`${found.length} chunks are called ${name}`)
  return join(folder, found[0]!)
}

const heavy =
  /^src\/(engine|archive|wal|cache|filter|operations)\/|^src\/SyncEngine\.ts|@effect\/sql|ioredis|mysql2|better-sqlite3/

describe("what a command loads before it knows its work", () => {
  it("is neither the engine nor SQL nor Redis", () => {
    const loaded = [...loadedBy([command, chunk("Process")])]
    expect(loaded).toContain("src/cli/commands/Items.ts")
    expect(loaded).toContain("src/http/client/HttpClient.ts")
    expect(loaded.filter((file) => heavy.test(file))).toEqual([])
  })

  it("is the engine for those that open one", () => {
    const loaded = [...loadedBy([chunk("NodeEngine")])]
    expect(loaded).toContain("src/engine/Engine.ts")
    expect(loaded).toContain("ioredis")
  })
})

describe("the CPU of a command", () => {
  const directory = mkdtempSync(join(tmpdir(), "sync-engine-start-"))
  let daemon: Daemon

  beforeAll(async () => {
    daemon = await startDaemon(["--data-dir", directory])
  })
  afterAll(async () => {
    await killAll()
    rmSync(directory, { recursive: true, force: true })
  })

  // The budget is 300 ms of an idle machine. Unbundled, and with the engine loaded, these took 900 and more.
  it.each([["--version"], ["put", "a", "--content", "x"], ["get", "a"], ["status"]])(
    "%s stays small",
    async (...args) => {
      const told = "process.on('exit', () => console.error('cpu', process.cpuUsage()))"
      const env = {
        SYNC_ENGINE_URL: daemon.url,
        NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(told)}`
      }
      const used: Array<number> = []
      for (let round = 0; round < 5; round++) {
        const { code, err } = await start(args, { env }).ended
        expect(code, err).toBe(0)
        const [, user, system] = /cpu { user: (\d+), system: (\d+) }/.exec(err) ?? []
        used.push((Number(user) + Number(system)) / 1_000)
      }
      expect(Math.min(...used)).toBeLessThan(500)
    }
  )
})
