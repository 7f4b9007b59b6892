import { describe, expect, it } from "vitest"
import { CircuitBreaker } from "../../src/cache/CircuitBreaker.js"

describe("CircuitBreaker", () => {
  it("opens after failures in a row, not after scattered ones", () => {
    const breaker = new CircuitBreaker(3, 100)
    expect([breaker.failed(0), breaker.failed(0), breaker.succeeded()]).toEqual([false, false, false])
    expect([breaker.failed(1), breaker.failed(2), breaker.failed(3)]).toEqual([false, false, true])
    expect(breaker.isOpen).toBe(true)
  })

  it("sheds during the cool-down, then lets exactly one probe through", () => {
    const breaker = new CircuitBreaker(1, 100)
    breaker.failed(1_000)
    expect([breaker.admit(1_001), breaker.retryAfter(1_040), breaker.admit(1_099)]).toEqual([
      "shed",
      60,
      "shed"
    ])
    expect([breaker.admit(1_100), breaker.admit(1_100), breaker.admit(5_000)]).toEqual([
      "probe",
      "shed",
      "shed"
    ])
  })

  it("a failed probe opens it again, a successful one closes it", () => {
    const breaker = new CircuitBreaker(1, 100)
    breaker.failed(0)
    breaker.admit(100)
    expect(breaker.failed(150)).toBe(false)
    expect([breaker.admit(240), breaker.admit(250)]).toEqual(["shed", "probe"])
    expect(breaker.succeeded()).toBe(true)
    expect([breaker.admit(251), breaker.admit(252), breaker.isOpen]).toEqual(["go", "go", false])
  })
})
