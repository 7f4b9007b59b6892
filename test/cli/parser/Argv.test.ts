import { Either } from "effect"
import { describe, expect, it } from "vitest"
import { root } from "../../../src/cli/app/Cli.js"
import { type CommandLine, normalise } from "../../../src/cli/parser/Argv.js"

const read = (...args: ReadonlyArray<string>): CommandLine =>
  Either.getOrThrowWith(normalise(root.spec, args), (error) => error)

const refusal = (...args: ReadonlyArray<string>) => {
  const error = Either.getOrThrow(Either.flip(normalise(root.spec, args)))
  return { exitCode: error.exitCode, message: error.message }
}

describe("normalise", () => {
  it("puts options first and arguments behind --", () => {
    expect(read("put", "a.b", "file", "--state=new", "--json", "--content", "x").argv).toEqual([
      "put",
      "--state",
      "new",
      "--json",
      "true",
      "--content",
      "x",
      "--",
      "a.b",
      "file"
    ])
    expect(read("dead-letters", "retry", "7", "--all=false").argv).toEqual([
      "dead-letters",
      "retry",
      "--all",
      "false",
      "--",
      "7"
    ])
  })

  it("does not take an argument for the value of a switch", () => {
    expect(read("get", "--json", "1").argv).toEqual(["get", "--json", "true", "--", "1"])
    expect(read("scan", "--ids", "true").argv).toEqual(["scan", "--ids", "true", "--", "true"])
  })

  it("takes everything behind -- as arguments, and - as one", () => {
    expect(read("get", "--", "--help").argv).toEqual(["get", "--", "--help"])
    expect(read("put", "a", "-").argv).toEqual(["put", "--", "a", "-"])
  })

  it("takes values that contain = or are empty, and negative numbers", () => {
    expect(read("put", "a", "--content=b=c").argv).toEqual(["put", "--content", "b=c", "--", "a"])
    expect(read("put", "a", "--content=").argv).toEqual(["put", "--content", "", "--", "a"])
    expect(read("put", "a", "--content", "-5").argv).toEqual(["put", "--content", "-5", "--", "a"])
    expect(read("put", "a", "--content=--x").argv).toEqual(["put", "--content", "--x", "--", "a"])
  })

  it("finds help and the common options anywhere", () => {
    expect(read("scan", "--state", "x", "-h")).toMatchObject({ help: true, path: ["scan"] })
    expect(read("run", "--http-port", "0", "--log-level", "debug").globals).toEqual({ "log-level": "debug" })
    expect(read("--version")).toMatchObject({ version: true })
  })

  it("lets switches of the configuration stand alone", () => {
    expect(read("run", "--read-only", "--cdc=false").argv).toEqual([
      "run",
      "--read-only",
      "true",
      "--cdc",
      "false"
    ])
  })

  it("refuses what it does not know, before anything happens", () => {
    expect(refusal("delete", "--forse", "a")).toEqual({ exitCode: 2, message: "unknown option --forse" })
    expect(refusal("get", "--jsn", "a").message).toBe("unknown option --jsn; did you mean --json?")
    expect(refusal("get", "-x", "a").message).toBe("unknown option -x")
    expect(refusal("statsu").message).toBe('unknown command "statsu"; did you mean status?')
    expect(refusal("dead-letters", "purge").message).toBe('unknown command "dead-letters purge"')
    expect(refusal().message).toBe("a command is missing")
    expect(refusal("dead-letters").message).toBe("`dead-letters` needs one of: list, retry, drop")
    expect(refusal("put", "a", "--content").message).toBe("option --content needs a value")
    expect(refusal("put", "a", "--content", "--json").message).toMatch(/^option --content needs a value/)
    expect(refusal("get", "--json=maybe", "a").message).toMatch(/is a switch/)
    expect(refusal("get", "a", "--json", "--json").message).toBe("option --json is given twice")
  })
})
