import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { makeDirectory } from "../../../src/shared/files/Directory.js"

describe("makeDirectory", () => {
  let root = ""
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), "sync-engine-directory-"))
  })
  afterAll(() => rmSync(root, { recursive: true, force: true }))

  it("makes what is missing, for its owner alone", () => {
    makeDirectory(join(root, "a", "b", "c"))
    for (const path of ["a", "a/b", "a/b/c"]) expect(statSync(join(root, path)).mode & 0o777).toBe(0o700)
    makeDirectory(join(root, "a", "b", "c"))
    makeDirectory("/")
  })

  it("fails where there is a file, or where the file system takes no folders", () => {
    writeFileSync(join(root, "file"), "")
    expect(() => makeDirectory(join(root, "file"))).toThrow(/EEXIST/)
    expect(() => makeDirectory(join(root, "file", "below", "it"))).toThrow(/ENOTDIR/)
    expect(() => makeDirectory("/proc/none/below")).toThrow(/ENOENT|EPERM|EACCES|EROFS/)
  })
})
