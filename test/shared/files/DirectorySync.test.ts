import fs, { mkdtempSync, rmSync } from "node:fs"
import { syncBuiltinESMExports } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { makeDirectory } from "../../../src/shared/files/Directory.js"
import { openLogFile } from "../../../src/wal/LogFileOpen.js"

/** What was done to folders and files, in order. */
const done: Array<string> = []
const { fsyncSync, mkdirSync, openSync, renameSync } = fs
const own = { fsyncSync, mkdirSync, openSync, renameSync }
const paths = new Map<number, string>()
const observed = {
  openSync: (path: string, ...rest: [string, number?]) => {
    const file = openSync(path, ...rest)
    paths.set(file, path)
    return file
  },
  fsyncSync: (file: number) => {
    fsyncSync(file)
    done.push(`sync ${paths.get(file)}`)
  },
  mkdirSync: (path: string, mode: number) => {
    mkdirSync(path, mode)
    done.push(`make ${path}`)
  },
  renameSync: (from: string, to: string) => {
    renameSync(from, to)
    done.push(`move to ${to}`)
  }
}

/** In Node's own module: what other test files have loaded in this process is observed as well. */
const put = (functions: object) => {
  Object.assign(fs, functions)
  syncBuiltinESMExports()
}

describe("what is made on disk is durable with its name", () => {
  let root = ""
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), "sync-engine-sync-"))
    put(observed)
  })
  afterAll(() => {
    put(own)
    rmSync(root, { recursive: true, force: true })
  })

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
