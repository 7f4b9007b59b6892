import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"

/** What was done to folders and files, in order. */
const done = vi.hoisted(() => [] as Array<string>)

vi.mock("node:fs", async (original) => {
  const fs = await original<typeof import("node:fs")>()
  const paths = new Map<number, string>()
  return {
    ...fs,
    openSync: (path: string, ...rest: [string, number?]) => {
      const file = fs.openSync(path, ...rest)
      paths.set(file, path)
      return file
    },
    fsyncSync: (file: number) => {
      fs.fsyncSync(file)
      done.push(`sync ${paths.get(file)}`)
    },
    mkdirSync: (path: string, mode: number) => {
      fs.mkdirSync(path, mode)
      done.push(`make ${path}`)
    },
    renameSync: (from: string, to: string) => {
      fs.renameSync(from, to)
      done.push(`move to ${to}`)
    }
  }
})

const { makeDirectory } = await import("../../../src/shared/files/Directory.js")
const { openLogFile } = await import("../../../src/wal/LogFileOpen.js")

describe("what is made on disk is durable with its name", () => {
  let root = ""
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), "sync-engine-sync-"))
  })
  afterAll(() => rmSync(root, { recursive: true, force: true }))

  it("every new folder is synced into the one above", () => {
    done.length = 0
    makeDirectory(join(root, "a", "b"))
    expect(done).toEqual([
      `make ${join(root, "a")}`,
      `sync ${root}`,
      `make ${join(root, "a", "b")}`,
      `sync ${join(root, "a")}`
    ])
  })

  it("a new log is synced, moved to its place, and its folder synced after", () => {
    done.length = 0
    const path = join(root, "log.db")
    openLogFile(path).close()
    expect(done).toEqual([`sync ${path}-new`, `move to ${path}`, `sync ${root}`])
  })
})
