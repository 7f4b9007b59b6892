import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import { root, version } from "../../../src/cli/app/Cli.js"
import type { Command } from "../../../src/cli/parser/Command.js"
import { options } from "../../../src/config/Options.js"
import { cli, makeWorld, type Surroundings } from "../support.js"

const directory = mkdtempSync(join(tmpdir(), "sync-engine-cli-"))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const run = (args: ReadonlyArray<string>, surroundings?: Surroundings, world = makeWorld()) =>
  Effect.runPromise(cli(world, args, surroundings))

const all = (definition: Command, path: ReadonlyArray<string>): ReadonlyArray<ReadonlyArray<string>> => [
  path,
  ...definition.children.flatMap((child) => all(child, [...path, child.name]))
]

describe("help and version", () => {
  it.each(all(root, []).map((path) => [path]))(
    "%j explains itself, every option and every argument",
    async (path) => {
      const result = await run([...path, "--help"])
      expect(result).toMatchObject({ code: 0, err: "" })
      expect(result.out).toContain("Examples:\n  ")
      expect(result.out).toContain("Exit codes:")
      expect(result.out).not.toContain("\u001b")
      const definition = path.reduce<Command>(
        (parent, name) => parent.children.find((child) => child.name === name) ?? parent,
        root
      )
      for (const { name } of definition.options) expect(result.out).toContain(`  ${name}`)
      for (const { description } of [...definition.options, ...definition.arguments]) {
        expect(description).toMatch(/\.$/)
      }
    }
  )

  it("has a flag for every option of the configuration, with its default", async () => {
    const { out } = await run(["run", "--help"])
    for (const { flag } of options) expect(out).toContain(`--${flag}`)
    expect(out).toContain("1,000,000")
    expect(out).toContain("--wal-max-items VALUE ")
    for (const { definition, flag } of options.filter(({ definition }) => definition.kind === "boolean")) {
      expect(out, definition.name).toContain(`--${flag}[=true|false]`)
      expect(out, definition.name).not.toContain(`--${flag} VALUE`)
    }
  })

  it("prints the version of the package", async () => {
    expect(await run(["--version"])).toMatchObject({ code: 0, out: `${version}\n` })
    expect(version).toMatch(/^\d+\.\d+\.\d+/)
  })

  it.each(["bash", "zsh", "fish"])("prints completions for %s", async (shell) => {
    const result = await run(["--completions", shell])
    expect(result.code).toBe(0)
    for (const name of ["ingest", "dead-letters", "doctor"]) expect(result.out).toContain(name)
  })
})

describe("exit code 2, before anything is done", () => {
  it.each<[ReadonlyArray<string>, RegExp]>([
    [[], /^sync-engine: a command is missing\n/],
    [["frobnicate"], /unknown command/],
    [["delete", "--forse", "a"], /unknown option --forse/],
    [["dead-letters"], /`dead-letters` needs one of: list, retry, drop\n/],
    [["get"], /argument <id> is missing\nsync-engine: see `sync-engine get --help`\n/],
    [["delete", "--json"], /argument <id> is missing/],
    [["get", "a", "b"], /unknown argument "b"/],
    [["get", "a..b"], /the id has an empty segment/],
    [["scan", "--limit", "0"], /option --limit: "0" is not a whole number/],
    [["scan", "--ids", "--json"], /either --ids or --json/],
    [["scan", "--state", "\u0001"], /option --state: holds a control character/],
    [["put", "a", "file", "--content", "x"], /either FILE or --content/],
    [["put", "a", "--content", "x", "--durability", "maybe"], /durability/],
    [["put", "a", "--content", "x", "--version-number", "1.5"], /whole number from 1 to 7881299347898367\n/],
    [["put", "a", "--content", "x", "--version-number", "0"], /whole number from 1 to 7881299347898367\n/],
    [["put", "a", "--content", "x", "--version-number", "9007199254740991"], /from 1 to 7881299347898367\n/],
    [["run", "--cdc", "true"], /option --cdc is a switch: write --cdc=true/],
    [["ingest", "file", "--cdc", "off"], /option --cdc is a switch: write --cdc=off/],
    [["status", "--json", "false"], /option --json is a switch: write --json=false/],
    [["delete", "a", "b", "--if-version", "1"], /one by one/],
    [["dead-letters", "drop"], /name sequences, or pass --all/],
    [["dead-letters", "drop", "1", "--all"], /not both/],
    [["dead-letters", "drop", "0"], /the sequence "0" is not a whole number of 1 or more/],
    [["status", "--url", "ftp://x"], /not an http/],
    [["status", "--url", "http://u:p@x"], /holds credentials/],
    [["status", "--offline", "--url", "http://x"], /either --offline or --url/],
    [["status", "--data-dir", "x"], /add --offline/],
    [["ingest", "-", "--url", "http://x", "--wal-max-items", "5"], /--wal-max-items configures an engine/],
    [["ingest", "-", "--batch", "0"], /--batch/],
    [
      ["run", "--wal-max-items", "many"],
      /^sync-engine: configuration --wal-max-items: .*allowed: an integer from/
    ],
    [["run", "--http-host", "0.0.0.0", "--http-port", "0"], /^sync-engine: configuration HTTP_HOST: /],
    [["status", "--log-level", "loud"], /^sync-engine: configuration --log-level: .*allowed: trace, debug/]
  ])("%j", async (args, message) => {
    const result = await run(args, { stdin: "" })
    expect(result.err).toMatch(message)
    expect(result.code).toBe(2)
    expect(result.out).toBe("")
    expect(result.err).not.toMatch(/\n\s+at /)
  })

  it("refuses unknown and invalid variables by name", async () => {
    const unknown = await run(["run"], { env: { SYNC_ENGINE_WAL_MAX_ITEM: "5" } })
    expect(unknown.code).toBe(2)
    expect(unknown.err).toContain(
      "SYNC_ENGINE_WAL_MAX_ITEM: is unknown; did you mean SYNC_ENGINE_WAL_MAX_ITEMS?"
    )
    const format = await run(["status"], { env: { SYNC_ENGINE_LOG_FORMAT: "xml" } })
    expect(format.err).toContain("SYNC_ENGINE_LOG_FORMAT")
  })

  it("never shows a secret", async () => {
    const result = await run(["run", "--sql-url", "mysql://root:hunter2@h/d/e"])
    expect(result.code).toBe(2)
    expect(result.err).not.toContain("hunter2")
  })
})

describe("exit code 1", () => {
  it("says where no daemon answers, how to start one, and the way without", async () => {
    const result = await run(["status", "--url", "http://127.0.0.1:1"])
    expect(result.code).toBe(1)
    expect(result.err).toContain("no daemon answers at http://127.0.0.1:1")
    expect(result.err).toContain("sync-engine run")
    expect(result.err).toContain("--offline")
  })

  it("does not make a data directory to look into", async () => {
    const missing = join(directory, "missing")
    const result = await run(["status", "--offline", "--data-dir", missing])
    expect(result).toMatchObject({ code: 1 })
    expect(result.err).toContain(`there is no data directory ${missing}`)
  })

  it("names the file that cannot be read", async () => {
    const result = await run(["ingest", join(directory, "none.ndjson")])
    expect(result.code).toBe(1)
    expect(result.err).toContain("none.ndjson")
  })
})

describe("standard output", () => {
  it("ends quietly when its reader goes away", async () => {
    const world = makeWorld()
    const lines = Array.from({ length: 3_000 }, (_, index) => `{"id":"n.${index}","content":1}`).join("\n")
    await run(["ingest", "-"], { stdin: lines }, world)
    const result = await run(["scan", "--offline", "--data-dir", directory], { writesBeforeClose: 1 }, world)
    expect(result).toMatchObject({ code: 0, err: "" })
    expect(result.out.length).toBeGreaterThan(0)
    expect((await run(["--help"], { writesBeforeClose: 0 })).code).toBe(0)
  })
})

describe("files", () => {
  it("puts a file's bytes and ingests a file, in process", async () => {
    const world = makeWorld()
    writeFileSync(join(directory, "bytes"), Buffer.from([1, 2, 255]))
    writeFileSync(join(directory, "items.ndjson"), '{"id":"x","content":[1, 2]}\n')
    const offline = ["--offline", "--data-dir", directory]
    expect((await run(["put", "raw", join(directory, "bytes"), ...offline], undefined, world)).code).toBe(0)
    expect(
      (await run(["ingest", join(directory, "items.ndjson"), "--data-dir", directory], undefined, world)).code
    ).toBe(0)
    expect([...(await run(["get", "raw", ...offline], undefined, world)).bytes]).toEqual([1, 2, 255])
    expect((await run(["get", "x", ...offline], undefined, world)).out).toBe("[1, 2]")
  })
})

describe("docs/cli.md", () => {
  const page = readFileSync(new URL("../../../docs/cli.md", import.meta.url), "utf8")
  const configuration = new Set(options.flatMap(({ flag }) => [`--${flag}`, `--${flag}-file`]))

  it("has a section for every command, and every option that is not the configuration's", () => {
    for (const [name, ...rest] of all(root, []).slice(1)) {
      expect(page).toContain(`## ${name}\n`)
      expect(page).toContain(`\nsync-engine ${[name, ...rest].join(" ")}`)
    }
    const names = (definition: Command): ReadonlyArray<string> => [
      ...definition.options.map(({ name }) => name),
      ...definition.children.flatMap(names)
    ]
    for (const name of names(root)) if (!configuration.has(name)) expect(page).toContain(`\`${name}`)
  })
})
