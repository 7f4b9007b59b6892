import { describe, expect, it } from "vitest"
import * as Errors from "../../../src/EngineError.js"
import { errorBody, mapError, retryAfterSeconds, statusOf } from "../../../src/http/api/ErrorMapping.js"
import { RequestFailed } from "../../../src/http/api/RequestFailed.js"
import { snakeCase } from "../../../src/http/api/Wire.js"

const retryAfterMs = 1_200

const cases: ReadonlyArray<readonly [Errors.EngineError, number, string | undefined]> = [
  [new Errors.InvalidItem({ id: "a", field: "id", problem: "is empty" }), 400, undefined],
  [new Errors.InvalidRequest({ argument: "limit", problem: "is 0" }), 400, undefined],
  [new Errors.PayloadTooLarge({ id: "a", bytes: 2, maxBytes: 1, limit: "x" }), 413, undefined],
  [new Errors.VersionConflict({ id: "a", submitted: 1, current: 2 }), 409, undefined],
  [new Errors.VersionMismatch({ id: "a", expected: 1, actual: 2 }), 412, undefined],
  [new Errors.GateClosed({ operation: "write", phase: "draining", retryAfterMs }), 503, "2"],
  [new Errors.ReadOnly({ retryAfterMs: 1_000 }), 503, "1"],
  [new Errors.Backpressure({ level: "Throttle", pressure: 0.8, retryAfterMs }), 429, "2"],
  [new Errors.Backpressure({ level: "Critical", pressure: 0.9, retryAfterMs }), 429, "2"],
  [new Errors.Backpressure({ level: "Emergency", pressure: 0.95, retryAfterMs }), 429, "2"],
  [new Errors.Backpressure({ level: "Shutdown", pressure: 0.98, retryAfterMs }), 503, "2"],
  [new Errors.Backpressure({ level: "unheard of", pressure: 1, retryAfterMs }), 429, "2"],
  [new Errors.LogFull({ items: 1, bytes: 1, maxItems: 1, maxBytes: 1, retryAfterMs: 1 }), 503, "1"],
  [new Errors.LogUnavailable({ path: "p", operation: "o", problem: "x", retryAfterMs: 61_000 }), 503, "61"],
  [
    new Errors.TierUnavailable({ tier: "archive", operation: "get", problem: "x", retryAfterMs: 0 }),
    503,
    "1"
  ],
  [new Errors.ItemRejected({ id: "a", version: 1, problem: "x" }), 422, undefined],
  [new Errors.CorruptItem({ id: "a", version: 1, expectedHash: "x", actualHash: "y" }), 500, undefined],
  [new Errors.NotSupported({ operation: "ttl", problem: "x" }), 501, undefined],
  [new Errors.InvalidConfig({ name: "x", problem: "y", allowed: "z" }), 500, undefined],
  [new Errors.LogOpenError({ path: "p", kind: "in-use", problem: "x" }), 500, undefined],
  [new Errors.ArchiveStartError({ target: "t", kind: "unreachable", problem: "x" }), 500, undefined]
]

describe("mapError", () => {
  for (const [error, status, retryAfter] of cases) {
    it(`answers ${error._tag}${"level" in error ? ` ${error.level}` : ""} with ${status}`, () => {
      const answer = mapError(error)
      expect(answer.status).toBe(status)
      expect(statusOf(error)).toBe(status)
      expect(answer.headers["retry-after"]).toBe(retryAfter)
      expect(answer.body).toMatchObject({ error: error._tag, message: error.message })
    })
  }

  it("writes fields in snake_case and nothing else", () => {
    expect(errorBody(new Errors.PayloadTooLarge({ id: "a", bytes: 2, maxBytes: 1, limit: "L" }))).toEqual({
      error: "PayloadTooLarge",
      message: 'item "a": content has 2 bytes, at most 1 fit (L)',
      id: "a",
      bytes: 2,
      max_bytes: 1,
      limit: "L"
    })
    expect(errorBody(new Errors.GateClosed({ operation: "write", phase: "ready", retryAfterMs: 5 }))).toEqual(
      {
        error: "GateClosed",
        message: "no writes while ready",
        operation: "write",
        phase: "ready",
        retry_after_ms: 5
      }
    )
  })

  it("passes a request's own fault through", () => {
    const problem = new RequestFailed({
      status: 405,
      error: "MethodNotAllowed",
      message: "no",
      headers: { allow: "GET" },
      fields: { allowed: ["GET"] }
    })
    expect(mapError(problem)).toEqual({
      status: 405,
      headers: { allow: "GET" },
      body: { error: "MethodNotAllowed", message: "no", allowed: ["GET"] }
    })
  })
})

describe("names and times", () => {
  it("writes snake_case", () => {
    expect(snakeCase("retryAfterMs")).toBe("retry_after_ms")
    expect(snakeCase("id")).toBe("id")
  })

  it("rounds seconds up, to at least one", () => {
    expect([0, 1, 999, 1_000, 1_001, Number.NaN, Number.POSITIVE_INFINITY].map(retryAfterSeconds)).toEqual([
      "1",
      "1",
      "1",
      "1",
      "2",
      "1",
      "1"
    ])
  })
})
