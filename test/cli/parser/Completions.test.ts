import { execFileSync } from "node:child_process"
import { describe, expect, it } from "vitest"
import { root } from "../../../src/cli/app/Cli.js"
import { completions } from "../../../src/cli/parser/Completions.js"

const script = completions(root, "bash")

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
    expect(complete("")).toEqual(root.children.map(({ name }) => name))
    expect(complete("d")).toEqual(["delete", "drain", "dead-letters", "doctor"])
  })

  it("know the options of every command, behind the first word", () => {
    for (const command of root.children) {
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

describe("completions for zsh and fish", () => {
  it("zsh reads bash's script, behind what makes it do so", () => {
    const zsh = completions(root, "zsh")
    expect(zsh.endsWith(script)).toBe(true)
    expect(zsh).toContain("\nbashcompinit\n")
    // Zsh takes a word behind the second colon for a modifier.
    expect(script).toContain("{COMP_WORDS[@]:1:$((COMP_CWORD - 1))}")
  })

  it("fish knows every place, and offers no value that is refused", () => {
    const fish = completions(root, "fish")
    for (const command of root.children) {
      expect(fish).toContain(`case "/${command.name}"`)
      for (const { name } of command.options) expect(fish).toContain(` ${name} `)
      for (const { name } of command.children) expect(fish).toContain(`case "${command.name}/${name}"`)
    }
    expect(fish).toContain("case \"put/--durability\"\n      printf '%s\\n' memory wal archive\n")
    expect(fish).not.toContain("fatal")
  })
})
