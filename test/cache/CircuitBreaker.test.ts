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
    expect([breaker.admits(1_001), breaker.retryAfter(1_040), breaker.admits(1_099)]).toEqual([
      false,
      60,
      false
    ])
    expect([breaker.admits(1_100), breaker.admits(1_100), breaker.admits(5_000)]).toEqual([
      true,
      false,
      false
    ])
  })

  it("a failed probe opens it again, a successful one closes it", () => {
    const breaker = new CircuitBreaker(1, 100)
    breaker.failed(0)
    breaker.admits(100)
    expect(breaker.failed(150)).toBe(false)
    expect([breaker.admits(240), breaker.admits(250)]).toEqual([false, true])
    expect(breaker.succeeded()).toBe(true)
    expect([breaker.admits(251), breaker.admits(252), breaker.isOpen]).toEqual([true, true, false])
  })
})
