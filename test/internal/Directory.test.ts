import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { makeDirectory } from "../../src/internal/Directory.js"

describe("makeDirectory", () => {
  let root = ""
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), "sync-engine-directory-"))
  })
  afterAll(() => rmSync(root, { recursive: true, force: true }))

  it("makes what is missing and answers the topmost it made", () => {
    expect(makeDirectory(join(root, "a", "b", "c"))).toBe(join(root, "a"))
    expect(existsSync(join(root, "a", "b", "c"))).toBe(true)
    expect(makeDirectory(join(root, "a", "b", "c"))).toBeUndefined()
    expect(makeDirectory(join(root, "a", "d"))).toBe(join(root, "a", "d"))
    expect(makeDirectory("/")).toBeUndefined()
  })

  it("fails where there is a file, or where the file system takes no folders", () => {
    writeFileSync(join(root, "file"), "")
    expect(() => makeDirectory(join(root, "file"))).toThrow(/EEXIST/)
    expect(() => makeDirectory(join(root, "file", "below", "it"))).toThrow(/ENOTDIR/)
    expect(() => makeDirectory("/proc/none/below")).toThrow(/ENOENT|EPERM|EACCES|EROFS/)
  })
})
