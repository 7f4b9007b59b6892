import { Either, Redacted } from "effect"
import { afterEach, describe, expect, it } from "vitest"
import { checkExposure, gatekeeper, isLoopback } from "../../../src/http/middleware/Authorization.js"
import { closeAll, start } from "../Harness.js"

afterEach(closeAll)

const secret = "correct-horse-battery-staple"

describe("loopback", () => {
  it("is this machine only", () => {
    const here = ["localhost", "LOCALHOST", "127.0.0.1", "127.255.0.3", "::1", "[::1]", "::ffff:127.0.0.1"]
    const elsewhere = [
      "",
      "0.0.0.0",
      "::",
      "10.0.0.1",
      "localhost.example.com",
      "127.0.0.1.example.com",
      "127.example",
      "128.0.0.1"
    ]
    for (const host of here) expect(isLoopback(host), host).toBe(true)
    for (const host of elsewhere) expect(isLoopback(host), host).toBe(false)
  })

  it("is the only place to bind without a token", () => {
    for (const host of ["0.0.0.0", "::", "", "192.168.1.1", "example.com"]) {
      expect(checkExposure({ host, token: undefined })).toMatchObject({
        _tag: "Left",
        left: { name: "HTTP_HOST" }
      })
      expect(Either.isRight(checkExposure({ host, token: Redacted.make(secret) }))).toBe(true)
    }
  })

  it("refuses to start elsewhere, and says how to", async () => {
    await expect(start({ host: "0.0.0.0" })).rejects.toThrow(/HTTP_HOST.*ADMIN_TOKEN/s)
    const server = await start({ host: "0.0.0.0", token: secret })
    expect(server.port).toBeGreaterThan(0)
  })

  it("refuses a token that no header can carry, without showing it", async () => {
    for (const token of ["", " ", "a b", "päss", "a\n"]) {
      const failure = start({ token }).then(
        () => "started",
        (error: unknown) => String(error)
      )
      expect(await failure).toMatch(/ADMIN_TOKEN/)
      if (token.trim() !== "") expect(await failure).not.toContain(token)
    }
  })

  it("says which port is taken", async () => {
    const first = await start()
    await expect(start({ port: first.port })).rejects.toThrow(/HTTP_PORT.*in use/s)
  })
})

describe("bearer token", () => {
  const routes = [
    ["GET", "/admin/status"],
    ["POST", "/admin/drain"],
    ["POST", "/admin/shutdown"],
    ["GET", "/metrics"],
    ["GET", "/docs"],
    ["GET", "/openapi.json"],
    ["GET", "/merkle/root"],
    ["GET", "/items"],
    ["GET", "/items/a"],
    ["PUT", "/items/a"],
    ["DELETE", "/items/a"],
    ["GET", "/no/such/route"],
    ["GET", "/items/%zz"],
    ["GET", "/Health/live"],
    ["GET", "//health/live"]
  ] as const
  const refused: ReadonlyArray<string | undefined> = [
    undefined,
    "",
    "Bearer",
    "Bearer ",
    `Basic ${secret}`,
    secret,
    `Token ${secret}`,
    `Bearer ${secret}x`,
    `Bearer ${secret.slice(1)}`,
    "Bearer a b",
    `Bearer ${secret} x`,
    `Bearer${secret}`
  ]

  it("is needed for everything but health", async () => {
    const { fake, request } = await start({ token: secret })
    for (const [method, path] of routes) {
      const answer = await request(path, { method })
      expect(answer.status, `${method} ${path}`).toBe(401)
      expect(answer.json).toMatchObject({ error: "Unauthorized" })
      expect(answer.headers["www-authenticate"]).toMatch(/^Bearer realm=/)
    }
    expect(fake.calls).toEqual([])
    for (const path of ["/health/live", "/health/ready", "/health/startup"]) {
      expect((await request(path)).status).toBe(200)
    }
  })

  it("is compared as a whole, after its scheme", async () => {
    const { request } = await start({ token: secret })
    for (const authorization of refused) {
      const headers = authorization === undefined ? {} : { authorization }
      const answer = await request("/admin/status", { headers })
      expect(answer.status, String(authorization)).toBe(401)
      expect(answer.text).not.toContain(secret)
    }
    for (const authorization of [`Bearer ${secret}`, `bearer ${secret}`, `Bearer   ${secret}`]) {
      expect((await request("/admin/status", { headers: { authorization } })).status).toBe(200)
    }
  })

  it("lets other hosts and origins in once it is there", async () => {
    const { request } = await start({ token: secret })
    const headers = {
      authorization: `Bearer ${secret}`,
      host: "sync.example.com",
      origin: "https://app.example.com"
    }
    expect((await request("/admin/drain", { method: "POST", headers })).status).toBe(200)
  })
})

describe("without a token", () => {
  it("refuses names that a web page can have point here", async () => {
    const { fake, port, request } = await start()
    for (const host of [
      "evil.example.com",
      `evil.example.com:${port}`,
      "localhost.evil.example.com",
      "0.0.0.0",
      "127.0.0.1.evil.example"
    ]) {
      const answer = await request("/items/a", { method: "DELETE", headers: { host } })
      expect(answer.status, host).toBe(403)
      expect(answer.json).toMatchObject({ error: "ForbiddenHost" })
    }
    expect(fake.calls).toEqual([])
    for (const host of ["localhost", `127.0.0.1:${port}`, "[::1]:1", "127.8.9.1"]) {
      expect((await request("/admin/status", { headers: { host } })).status, host).toBe(200)
    }
  })

  it("refuses writes from pages of other origins", async () => {
    const { fake, port, request } = await start()
    for (const origin of [
      "https://evil.example.com",
      "null",
      `http://localhost:${port}`,
      "http://127.0.0.1:1"
    ]) {
      const answer = await request("/admin/shutdown", { method: "POST", headers: { origin } })
      expect(answer.status, origin).toBe(403)
      expect(answer.json).toMatchObject({ error: "ForbiddenOrigin" })
    }
    expect(fake.calls).toEqual([])
    const own = { origin: `http://127.0.0.1:${port}` }
    expect((await request("/admin/drain", { method: "POST", headers: own })).status).toBe(200)
    expect((await request("/admin/status", { headers: { origin: "https://evil.example.com" } })).status).toBe(
      200
    )
  })

  it("asks nothing of clients that send no Host", async () => {
    const { raw } = await start()
    expect(await raw("GET /health/live HTTP/1.0\r\n\r\n")).toMatch(/^HTTP\/1.1 200/)
  })
})

describe("the gatekeeper", () => {
  it("does not depend on the length of what was sent", () => {
    const check = gatekeeper(Redacted.make(secret))
    for (const length of [1, 10, 8_000]) {
      const refusal = check({
        method: "GET",
        area: "items",
        headers: { authorization: `Bearer ${"x".repeat(length)}` }
      })
      expect(refusal?.status).toBe(401)
    }
    expect(
      check({ method: "GET", area: "items", headers: { authorization: `Bearer ${secret}` } })
    ).toBeUndefined()
  })
})
