/** Output that cannot be written: every command says so. */
import { spawn } from "node:child_process"
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { cli, command, type Daemon, killAll, root, startDaemon } from "./support.js"

interface Ended {
  readonly code: number | null
  readonly err: string
}

const ending = (child: ReturnType<typeof spawn>): Promise<Ended> => {
  let err = ""
  child.stderr?.setEncoding("utf8").on("data", (data) => {
    err += String(data)
  })
  return new Promise((resolve, reject) => {
    child.once("error", reject)
    child.once("close", (code) => resolve({ code, err }))
  })
}

/** Runs a command with its standard output on a disk that is always full. */
const onFullDisk = async (...args: ReadonlyArray<string>): Promise<Ended> => {
  const full = openSync("/dev/full", "w")
  try {
    return await ending(
      spawn(process.execPath, [command, ...args], { stdio: ["ignore", full, "pipe"], cwd: root })
    )
  } finally {
    closeSync(full)
  }
}

describe("output that cannot be written", () => {
  const directory = mkdtempSync(join(tmpdir(), "sync-engine-output-"))
  const file = join(directory, "items.ndjson")
  let daemon: Daemon
  let url = ""

  beforeAll(async () => {
    daemon = await startDaemon(["--data-dir", join(directory, "data")])
    url = daemon.url
    const line = (_: unknown, index: number) => `{"id":"i.${index}","content":"${"x".repeat(200)}"}\n`
    writeFileSync(file, Array.from({ length: 50 }, line).join(""))
    expect((await cli(["ingest", file, "--url", url])).code).toBe(0)
    expect((await cli(["put", "large", "--content", "x".repeat(6_000), "--url", url])).code).toBe(0)
  })

  afterAll(async () => {
    await killAll()
    rmSync(directory, { recursive: true, force: true })
  })

  it("is a failure with the reason, for every command", async () => {
    const commands: ReadonlyArray<ReadonlyArray<string>> = [
      ["--help"],
      ["--version"],
      ["--completions", "bash"],
      ["scan", "--help"],
      ["put", "a", "--content", "1", "--url", url],
      ["get", "i.1", "--url", url],
      ["get", "i.1", "--json", "--url", url],
      ["scan", "--url", url],
      ["scan", "--ids", "--url", url],
      ["status", "--url", url],
      ["verify", "--url", url],
      ["verify", "--against", url, "--url", url],
      ["repair", "--url", url],
      ["flush", "--url", url],
      ["delete", "a", "--url", url],
      ["dead-letters", "retry", "--all", "--url", url],
      ["dead-letters", "drop", "--all", "--json", "--url", url],
      ["ingest", file, "--url", url],
      ["ingest", file, "--json", "--data-dir", join(directory, "other")],
      ["doctor", "--data-dir", join(directory, "nothing")],
      ["drain", "--url", url]
    ]
    for (const args of commands) {
      const { code, err } = await onFullDisk(...args)
      expect([args, code]).toEqual([args, 1])
      expect(err).toMatch(/^sync-engine: standard output: .*ENOSPC/m)
    }
  })

  it("in its last part only is a failure too", async () => {
    const out = join(directory, "cut")
    // The kernel takes what fits and says nothing; only the next write would fail.
    const script = `trap '' XFSZ; ulimit -f 4; exec "$0" "$@" > "${out}"`
    const { code, err } = await ending(
      spawn("bash", ["-c", script, process.execPath, command, "get", "large", "--json", "--url", url], {
        stdio: ["ignore", "ignore", "pipe"],
        cwd: root
      })
    )
    expect(readFileSync(out).length).toBeLessThanOrEqual(4 * 1024)
    expect([code, err]).toEqual([1, expect.stringContaining("EFBIG")])
  })

  it("because its reader has gone is quiet", async () => {
    const { code, err } = await ending(
      spawn(
        "bash",
        [
          "-c",
          `"$0" "$@" | head -c 1 > /dev/null; exit \${PIPESTATUS[0]}`,
          process.execPath,
          command,
          "scan",
          "--url",
          url
        ],
        {
          stdio: ["ignore", "ignore", "pipe"],
          cwd: root
        }
      )
    )
    expect([code, err]).toEqual([0, ""])
  })
})
