import { execFileSync } from "node:child_process"
import { describe, expect, it } from "vitest"
import { root } from "../../src/cli/Cli.js"
import { bashCompletions } from "../../src/cli/Completions.js"

const script = bashCompletions(root.spec)

/** What bash offers for the last of these words, which is being typed. */
const complete = (...typed: ReadonlyArray<string>): ReadonlyArray<string> =>
  execFileSync(
    "bash",
    [
      "--norc",
      "-c",
      `set -u; ${script}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sync_engine; printf '%s\\n' "\${COMPREPLY[@]-}"`,
      "bash",
      "sync-engine",
      ...typed
    ],
    { encoding: "utf8" }
  )
    .split("\n")
    .filter((word) => word !== "")

describe("completions for bash", () => {
  it("know the commands", () => {
    expect(complete("")).toEqual(root.spec.children.map(({ name }) => name))
    expect(complete("d")).toEqual(["delete", "drain", "dead-letters", "doctor"])
  })

  it("know the options of every command, behind the first word", () => {
    for (const command of root.spec.children) {
      const offered = complete(command.name, "--")
      for (const { name } of command.options)
        expect([command.name, offered]).toEqual([command.name, expect.arrayContaining([name])])
      expect(offered).toEqual(expect.arrayContaining(["--help", "--log-level"]))
    }
    expect(complete("put", "a", "--cont")).toEqual(["--content"])
    expect(complete("put", "--json", "a", "--ver")).toEqual(["--version-number", "--version"])
    expect(complete("--log-level", "debug", "scan", "--li")).toEqual(["--limit"])
  })

  it("know commands below commands", () => {
    expect(complete("dead-letters", "")).toEqual(["list", "retry", "drop"])
    expect(complete("dead-letters", "re")).toEqual(["retry"])
    expect(complete("dead-letters", "retry", "--al")).toEqual(["--all"])
    expect(complete("dead-letters", "list", "--al")).toEqual([])
  })

  it("know the values of an option that has few, and leave others to file names", () => {
    expect(complete("put", "a", "--durability", "")).toEqual(["memory", "wal", "archive"])
    expect(complete("put", "a", "--durability", "a")).toEqual(["archive"])
    expect(complete("put", "a", "--durability", "=", "w")).toEqual(["wal"])
    expect(complete("put", "a", "--durability", "=")).toEqual(["memory", "wal", "archive"])
    expect(complete("run", "--data-dir", "")).toEqual([])
    expect(complete("run", "--data-dir", "-")).toEqual([])
    expect(complete("ingest", "")).toEqual([])
  })
})
