import { spawn } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { cli, type Daemon, killAll, type Result, startDaemon } from "./support.js"

const token = "s3cret-Token/of~this+test"
const wrongToken = "an0ther-Token/of~this+test"

let directory: string
let dataDir: string
let tokenFile: string
let daemon: Daemon
const outputs: Array<string> = []

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "sync-engine-cli-"))
  dataDir = join(directory, "data")
  tokenFile = join(directory, "token")
  writeFileSync(tokenFile, `${token}\n`)
  daemon = await startDaemon(["--data-dir", dataDir, "--log-level", "trace"], {
    env: { SYNC_ENGINE_ADMIN_TOKEN: token }
  })
})
afterAll(async () => {
  await killAll()
  rmSync(directory, { recursive: true, force: true })
})

/** Runs a command and keeps what it says, to look for secrets in it. */
const run = async (args: ReadonlyArray<string>, options: Parameters<typeof cli>[1] = {}): Promise<Result> => {
  const result = await cli(args, options)
  outputs.push(result.out, result.err)
  return result
}

/** Runs a command against the daemon. */
const ask = (args: ReadonlyArray<string>, options: Parameters<typeof cli>[1] = {}): Promise<Result> =>
  run([...args, "--url", daemon.url, "--token-file", tokenFile], options)

const ok = (result: Result): string => {
  expect([result.code, result.signal, result.err]).toEqual([0, null, ""])
  return result.out
}

// In the order in which they stand: they are one day in the life of a daemon.
describe("the command against a daemon", () => {
  it("ingests a file with bad lines: their numbers, the summary, code 1", async () => {
    const file = join(directory, "items.ndjson")
    writeFileSync(
      file,
      [
        '{"id":"geo.fr.paris","content":{"population":2138551},"state":"new"}',
        "this is no JSON",
        '{"id":"geo..fr","content":1}',
        "",
        '{"id":"logo","contentBase64":"AAECAw=="}',
        '{"id":"geo.fr.lyon","content": 1.0 }',
        '{"id":"no.content"}'
      ].join("\r\n")
    )
    const result = await ask(["ingest", file, "--json"])
    expect(result.code).toBe(1)
    expect(result.err.match(/^line \d+: /gm)).toEqual(["line 2: ", "line 3: ", "line 7: "])
    expect(result.err).toContain("3 of 6 lines were rejected")
    const summary = JSON.parse(result.out) as Record<string, unknown>
    expect(summary).toMatchObject({ items: 6, acknowledged: 3, rejected: 3 })
    expect(Object.keys(summary)).toEqual([
      "items",
      "acknowledged",
      "rejected",
      "seconds",
      "items_per_second",
      "root"
    ])
    expect(summary.root).toMatch(/^[0-9a-f]{64}$/)
  })

  it("ingests standard input", async () => {
    const input = Array.from({ length: 3_000 }, (_, index) => `{"id":"many.${index}","content":${index}}\n`)
    const result = await ask(["ingest", "-", "--json"], { input: input.join("") })
    expect(JSON.parse(ok(result))).toMatchObject({ items: 3_000, acknowledged: 3_000, rejected: 0 })
  })

  it("puts, gets and deletes exact bytes", async () => {
    const receipt = JSON.parse(
      ok(await ask(["put", "user.1", "--json", "--state", "new"], { input: '{"a": 1.0}\n' }))
    ) as { readonly version: number }
    expect(ok(await ask(["get", "user.1"]))).toBe('{"a": 1.0}\n')
    expect(JSON.parse(ok(await ask(["get", "user.1", "--json"])))).toMatchObject({
      id: "user.1",
      version: receipt.version,
      state: "new"
    })
    const old = await ask(["put", "user.1", "--content", "2", "--if-version", "1"])
    expect([old.code, old.out]).toEqual([1, ""])
    expect(old.err).toContain(`found ${receipt.version}`)
    ok(await ask(["put", "user.1", "--content", "3", "--if-version", String(receipt.version)]))
    ok(await ask(["delete", "user.1", "never.there"]))
    const gone = await ask(["get", "user.1"])
    expect([gone.code, gone.out]).toEqual([1, ""])
    expect(gone.err).toContain("user.1")
  })

  it("scans, and what it scans can be ingested", async () => {
    expect(ok(await ask(["scan", "geo", "--ids"]))).toBe("geo.fr.lyon\ngeo.fr.paris\n")
    expect(ok(await ask(["scan", "--state", "new", "--ids"]))).toBe("geo.fr.paris\n")
    const scanned = ok(await ask(["scan", "--json"]))
    expect(scanned.trimEnd().split("\n")).toHaveLength(3_003)
    const copied = await run(["ingest", "-", "--json", "--data-dir", join(directory, "copy")], {
      input: scanned
    })
    expect(JSON.parse(ok(copied))).toMatchObject({ items: 3_003, acknowledged: 3_003 })
    const again = ok(await run(["scan", "--json", "--offline", "--data-dir", join(directory, "copy")]))
    expect(again).toBe(scanned)
  })

  it("scan | head ends quietly", async () => {
    const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url))
    const line = 'set -o pipefail; "$0" "$1" scan --json --url "$2" --token-file "$3" | head -n 2'
    const shell = spawn("bash", ["-c", line, process.execPath, main, daemon.url, tokenFile], {
      stdio: ["ignore", "pipe", "pipe"]
    })
    let out = ""
    let err = ""
    shell.stdout.on("data", (data) => {
      out += String(data)
    })
    shell.stderr.on("data", (data) => {
      err += String(data)
    })
    const code = await new Promise((resolve) => shell.once("close", resolve))
    expect([code, err]).toEqual([0, ""])
    expect(out).toMatch(/^\{.*\}\n\{.*\}\n$/)
  })

  it("shows status, verifies, flushes, lists dead letters, examines", async () => {
    const status = JSON.parse(ok(await ask(["status", "--json"])))
    expect(status).toMatchObject({ health: { lifecycle: { phase: "ready" } } })
    expect(ok(await ask(["status"]))).toMatch(/phase +ready/)
    expect(JSON.parse(ok(await ask(["flush", "--json"])))).toMatchObject({ pending: 0, dead_lettered: 0 })
    expect(JSON.parse(ok(await ask(["verify", "--json"])))).toMatchObject({
      in_sync: true,
      rows_checked: 3_003,
      cache_root: null,
      differences: []
    })
    expect(ok(await ask(["dead-letters", "list", "--json"]))).toBe("")
    expect(JSON.parse(ok(await ask(["dead-letters", "retry", "--all", "--json"])))).toEqual({ retried: 0 })
    expect(JSON.parse(ok(await ask(["dead-letters", "drop", "7", "--json"])))).toEqual({ dropped: 0 })
    const doctor = await run(["doctor", "--json", "--data-dir", dataDir, "--url", daemon.url], {
      env: { SYNC_ENGINE_ADMIN_TOKEN: token }
    })
    expect(JSON.parse(ok(doctor))).toMatchObject({ ok: true })
  })

  it("says what is wrong with the command line or the configuration: code 2, and nothing is done", async () => {
    const usages: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
      [["status", "--nonsense"], "--nonsense"],
      [["nonsense"], "nonsense"],
      [["get"], "id"],
      [["put", "a", "--content", "1", "--durability", "paper"], "memory"],
      [["dead-letters", "retry"], "--all"],
      [["run", "--data-dir", join(directory, "never"), "--wal-max-items", "many"], "wal-max-items"],
      [["run", "--data-dir", join(directory, "never"), "--http-host", "0.0.0.0"], "ADMIN_TOKEN"],
      [["status", "--url", "ftp://host"], "ftp://host"]
    ]
    const results = await Promise.all(usages.map(([args]) => run(args)))
    results.forEach((result, index) => {
      const [args, word] = usages[index]!
      expect([args, result.code, result.out]).toEqual([args, 2, ""])
      expect(result.err).toContain(word)
    })
  })

  it("says what to do when no daemon answers: code 1", async () => {
    const result = await run(["status", "--url", "http://127.0.0.1:9"])
    expect([result.code, result.out]).toEqual([1, ""])
    expect(result.err).toContain("no daemon answers at http://127.0.0.1:9")
    expect(result.err).toContain("sync-engine run")
  })

  it("needs the token, and never shows one", async () => {
    for (const options of [
      { env: {} },
      { env: { SYNC_ENGINE_ADMIN_TOKEN: wrongToken } },
      { env: { SYNC_ENGINE_ADMIN_TOKEN: token.slice(1) } }
    ]) {
      const result = await run(["status", "--url", daemon.url], options)
      expect([result.code, result.out]).toEqual([1, ""])
      expect(result.err).toContain("--token-file")
    }
    // A configuration that is refused does not quote its secrets either.
    const refused = await run(["run", "--data-dir", join(directory, "never"), "--http-port", "x"], {
      env: {
        SYNC_ENGINE_ADMIN_TOKEN: token,
        SYNC_ENGINE_SQL_URL: `mysql://user:${wrongToken.replaceAll("/", "%2F")}@127.0.0.1:1/x`
      }
    })
    expect(refused.code).toBe(2)
    const unreachable = await run(
      ["run", "--data-dir", join(directory, "unreachable"), "--http-port", "0", "--sql-start-timeout", "0s"],
      { env: { SYNC_ENGINE_SQL_URL: "mysql://user:s3cretPassword@127.0.0.1:1/database" } }
    )
    expect(unreachable.code).toBe(1)
    expect(unreachable.err).toContain("127.0.0.1:1")
    expect(unreachable.err).not.toContain("s3cretPassword")
  })

  it("refuses arguments that are not UTF-8", async () => {
    const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url))
    const script = 'exec "$0" "$1" put "$(printf "a\\355\\240\\200")" --content x --url "$2"'
    const child = spawn("sh", ["-c", script, process.execPath, main, daemon.url], { stdio: "pipe" })
    let err = ""
    child.stderr.on("data", (data) => {
      err += String(data)
    })
    const code = await new Promise((resolve) => child.once("close", resolve))
    expect([code, err]).toEqual([2, "sync-engine: an argument is not valid UTF-8\n"])
    expect((await ask(["put", "fine.\ufffd", "--content", "x"])).code).toBe(0)
    expect((await ask(["delete", "fine.\ufffd"])).code).toBe(0)
  })

  it("drains: reads go on, writes are refused", async () => {
    expect(JSON.parse(ok(await ask(["drain", "--json"])))).toEqual({ changed: true })
    expect(JSON.parse(ok(await ask(["drain", "--json"])))).toEqual({ changed: false })
    expect(ok(await ask(["get", "logo"]))).toBe("\u0000\u0001\u0002\u0003")
    const refused = await ask(["put", "late", "--content", "1"])
    expect([refused.code, refused.out]).toEqual([1, ""])
    expect(refused.err).toContain("draining")
  })

  it("shuts down with a report, and no secret was shown by anybody all day", async () => {
    const report = JSON.parse(ok(await ask(["shutdown", "--json"]))) as Record<string, unknown>
    expect(report).toMatchObject({ clean: true, items_left_in_log: 0, problems: [] })
    const ended = await daemon.ended
    expect([ended.code, ended.signal, ended.out]).toEqual([0, null, ""])
    const verified = await run(["verify", "--offline", "--json", "--data-dir", dataDir])
    expect(JSON.parse(ok(verified))).toMatchObject({ in_sync: true, rows_checked: 3_003 })

    outputs.push(ended.err)
    const all = outputs.join("\n")
    expect(all).toContain("listening on")
    for (const secret of [token, wrongToken, token.slice(1), encodeURIComponent(wrongToken)]) {
      expect(all).not.toContain(secret)
    }
  })
})
