import { describe, expect, it } from "vitest"
import { LogOpenError } from "../src/EngineError.js"

describe("messages", () => {
  it("have one full stop where a driver's own text ends with one", () => {
    const { message } = new LogOpenError({ path: "/l", kind: "damaged", problem: "the disk said no." })
    expect(message).toContain("the disk said no. Durability")
  })
})
