import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"

const text = (file: string): string => readFileSync(new URL(`../${file}`, import.meta.url), "utf8")

describe("README", () => {
  it("installs every peer in a release that the package takes", () => {
    const { peerDependencies } = JSON.parse(text("package.json")) as {
      readonly peerDependencies: Readonly<Record<string, string>>
    }
    const line = /^npm install effect-sync-engine (.*)$/m.exec(text("README.md"))?.[1] ?? ""
    const pins = Object.fromEntries(
      line.split(" ").map((pin) => [pin.slice(0, pin.lastIndexOf("@")), pin.slice(pin.lastIndexOf("@") + 1)])
    )
    // What a caret keeps: the first number that is not zero.
    const kept = Object.entries(peerDependencies).map(([name, range]) => [
      name,
      /^\^((?:0\.)*[1-9]\d*)/.exec(range)?.[1]
    ])
    expect(pins).toEqual(Object.fromEntries(kept))
  })
})
