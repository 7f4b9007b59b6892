import { Either } from "effect"
import { describe, expect, it } from "vitest"
import { root } from "../../../src/cli/app/Cli.js"
import { readCommandLine } from "../../../src/cli/parser/CommandLine.js"

const read = (...args: ReadonlyArray<string>) => {
  const { options, path, words } = Either.getOrThrowWith(readCommandLine(root, args), (error) => error)
  return { path, words, options: Object.fromEntries(options) }
}

const refusal = (...args: ReadonlyArray<string>) => {
  const error = Either.getOrThrow(Either.flip(readCommandLine(root, args)))
  return { exitCode: error.exitCode, message: error.message }
}

describe("a command line", () => {
  it("is read into its path, its options and its words, in any order", () => {
    expect(read("put", "a.b", "file", "--state=new", "--json", "--content", "x")).toEqual({
      path: ["put"],
      words: ["a.b", "file"],
      options: { "--state": "new", "--json": "true", "--content": "x" }
    })
    expect(read("dead-letters", "retry", "7", "--all=false")).toEqual({
      path: ["dead-letters", "retry"],
      words: ["7"],
      options: { "--all": "false" }
    })
  })

  it("does not take an argument for the value of a switch", () => {
    expect(read("get", "--json", "1")).toMatchObject({ words: ["1"], options: { "--json": "true" } })
    expect(read("scan", "--ids", "true")).toMatchObject({ words: ["true"], options: { "--ids": "true" } })
  })

  it("takes everything behind -- as arguments, and - as one", () => {
    expect(read("get", "--", "--help")).toEqual({ path: ["get"], words: ["--help"], options: {} })
    expect(read("put", "a", "-").words).toEqual(["a", "-"])
  })

  it("takes values that contain = or are empty, and negative numbers", () => {
    expect(read("put", "a", "--content=b=c").options).toEqual({ "--content": "b=c" })
    expect(read("put", "a", "--content=").options).toEqual({ "--content": "" })
    expect(read("put", "a", "--content=a\nb").options).toEqual({ "--content": "a\nb" })
    expect(read("put", "a", "--content", "-5").options).toEqual({ "--content": "-5" })
    expect(read("put", "a", "--content=--x").options).toEqual({ "--content": "--x" })
    expect(read("put", "a", "--content=--").options).toEqual({ "--content": "--" })
  })

  it("finds help and the common options anywhere", () => {
    expect(read("scan", "--state", "x", "-h")).toMatchObject({
      path: ["scan"],
      options: { "--help": "true" }
    })
    expect(read("--log-level", "debug", "run", "--http-port", "0")).toMatchObject({
      path: ["run"],
      options: { "--log-level": "debug", "--http-port": "0" }
    })
    expect(read("--version").options).toEqual({ "--version": "true" })
  })

  it("lets switches of the configuration stand alone", () => {
    expect(read("run", "--read-only", "--cdc=off").options).toEqual({
      "--read-only": "true",
      "--cdc": "false"
    })
  })

  it("is refused for what is not known, before anything happens", () => {
    expect(refusal("delete", "--forse", "a")).toEqual({ exitCode: 2, message: "unknown option --forse" })
    expect(refusal("get", "--jsn", "a").message).toBe("unknown option --jsn; did you mean --json?")
    expect(refusal("get", "-x", "a").message).toBe("unknown option -x")
    expect(refusal("statsu").message).toBe('unknown command "statsu"; did you mean status?')
    expect(refusal("dead-letters", "purge").message).toBe('unknown command "dead-letters purge"')
    expect(refusal("put", "a", "--content").message).toBe("option --content needs a value")
    expect(refusal("put", "a", "--content", "--json").message).toMatch(/^option --content needs a value/)
    expect(refusal("get", "--json=maybe", "a").message).toMatch(/is a switch/)
    expect(refusal("get", "a", "--json", "--json").message).toBe("option --json is given twice")
  })
})
