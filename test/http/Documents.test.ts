import { afterEach, describe, expect, it } from "vitest"
import { closeAll, start } from "./Harness.js"

afterEach(closeAll)

interface Response {
  readonly description?: string
  readonly content?: Readonly<Record<string, { readonly schema: object }>>
  readonly headers?: object
}
interface Operation {
  readonly operationId: string
  readonly summary?: string
  readonly parameters: ReadonlyArray<{ readonly name: string; readonly in: string }>
  readonly responses: Readonly<Record<string, Response>>
  readonly security: ReadonlyArray<object>
}
interface Document {
  readonly openapi: string
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: {
    readonly schemas: Readonly<Record<string, object>>
    readonly securitySchemes: object
  }
}

const expected: Readonly<Record<string, ReadonlyArray<number>>> = {
  "get /health/live": [200, 503],
  "get /health/ready": [200, 400, 503],
  "get /health/startup": [200, 503],
  "get /admin/status": [200, 401, 403, 500],
  "post /admin/drain": [200, 401, 403, 500],
  "post /admin/shutdown": [200, 401, 403, 500],
  "post /admin/flush": [200, 401, 403, 500, 503],
  "post /admin/readonly": [200, 400, 401, 403, 413, 415, 500, 503],
  "post /admin/verify": [200, 400, 401, 403, 413, 415, 500, 503],
  "post /admin/repair": [200, 400, 401, 403, 413, 415, 500, 503],
  "get /admin/dead-letters": [200, 400, 401, 403, 500, 503],
  "post /admin/dead-letters/retry": [200, 400, 401, 403, 413, 415, 422, 429, 500, 501, 503],
  "post /admin/dead-letters/drop": [200, 400, 401, 403, 413, 415, 500, 503],
  "put /items/{id}": [200, 201, 400, 401, 403, 409, 412, 413, 415, 422, 429, 500, 501, 503],
  "get /items/{id}": [200, 304, 400, 401, 403, 404, 500, 503],
  "head /items/{id}": [200, 304, 400, 401, 403, 404, 500, 503],
  "delete /items/{id}": [204, 400, 401, 403, 409, 412, 422, 429, 500, 501, 503],
  "post /items": [200, 400, 401, 403, 413, 415, 422, 429, 500, 501, 503],
  "get /items": [200, 400, 401, 403, 500, 503],
  "get /merkle/root": [200, 401, 403, 500, 503],
  "get /merkle/node": [200, 400, 401, 403, 404, 500, 503],
  "get /merkle/branches": [200, 400, 401, 403, 500, 503],
  "get /merkle/leaves": [200, 400, 401, 403, 500, 503],
  "get /merkle/sum": [200, 400, 401, 403, 500, 503],
  "get /merkle/parts": [200, 400, 401, 403, 500, 503],
  "get /metrics": [200, 401, 403, 500],
  "get /openapi.json": [200, 401, 403, 500],
  "get /docs": [200, 401, 403, 500]
}

const references = (value: unknown): ReadonlyArray<string> =>
  typeof value !== "object" || value === null
    ? []
    : Object.entries(value).flatMap(([key, member]) =>
        key === "$ref" && typeof member === "string" ? [member] : references(member)
      )

describe("the OpenAPI document", () => {
  it("has every route with every status", async () => {
    const { request } = await start()
    const answer = await request("/openapi.json")
    expect(answer.headers["content-type"]).toBe("application/json")
    const document = answer.json as Document
    const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => [`${method} ${path}`, operation] as const)
    )
    const statuses = operations.map(([name, { responses }]) => [
      name,
      Object.keys(responses)
        .map(Number)
        // The request line itself can be at fault on any route.
        .filter((status) => status !== 400 || expected[name]?.includes(400))
    ])
    expect(Object.fromEntries(statuses)).toEqual(expected)
  })

  it("is valid: one version, unique ids, described parameters, references that lead somewhere", async () => {
    const { request } = await start()
    const document = (await request("/openapi.json")).json as Document
    expect(document.openapi).toMatch(/^3\.1\./)
    const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.values(methods).map((operation) => ({ path, operation }))
    )
    expect(new Set(operations.map(({ operation }) => operation.operationId)).size).toBe(operations.length)
    for (const { operation, path } of operations) {
      expect(operation.summary, path).toBeTruthy()
      const inPath = operation.parameters
        .filter((parameter) => parameter.in === "path")
        .map(({ name }) => name)
      expect(inPath).toEqual([...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name))
      for (const response of Object.values(operation.responses)) expect(response.description).toBeTruthy()
      expect(operation.security).toEqual(path.startsWith("/health/") ? [] : [{ bearer: [] }])
    }
    for (const reference of references(document)) {
      expect(Object.keys(document.components.schemas)).toContain(
        reference.replace("#/components/schemas/", "")
      )
    }
    expect(Object.keys(document.components.securitySchemes)).toEqual(["bearer"])
  })

  it("describes errors as they are answered", async () => {
    const { request } = await start()
    const document = (await request("/openapi.json")).json as Document
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const operation of Object.values(methods)) {
        for (const [status, response] of Object.entries(operation.responses)) {
          if (Number(status) < 400) continue
          const schema = response.content?.["application/json"]?.schema
          expect(schema).toEqual({
            $ref: `#/components/schemas/${path.startsWith("/health/") && status === "503" ? "NotReady" : "Error"}`
          })
          if (status === "429" || (status === "503" && !path.startsWith("/health/"))) {
            expect(Object.keys(response.headers ?? {})).toEqual(["Retry-After"])
          }
        }
      }
    }
  })
})

describe("the documentation page", () => {
  it("names every route and loads nothing", async () => {
    const { request } = await start()
    const answer = await request("/docs")
    expect(answer.headers["content-type"]).toBe("text/html; charset=utf-8")
    for (const name of Object.keys(expected)) {
      const [method, path] = name.split(" ")
      expect(answer.text).toContain(`${method!.toUpperCase()} ${path}`)
    }
    expect(answer.text).not.toMatch(/<script|<link|<img|<iframe|@import|url\(|\son\w+=/i)
    expect(answer.text).not.toMatch(/(src|href)="(?!#|openapi\.json")/i)
    expect(answer.text).not.toMatch(/https?:\/\//)
    expect(answer.headers["content-security-policy"]).toMatch(/default-src 'none'/)
    expect(answer.headers["content-security-policy"]).not.toMatch(/https?:|\*/)
  })
})

describe("metrics", () => {
  it("are Prometheus text", async () => {
    const { request } = await start()
    const answer = await request("/metrics")
    expect(answer.status).toBe(200)
    expect(answer.headers["content-type"]).toMatch(/^text\/plain; version=0\.0\.4/)
    expect(answer.text).toMatch(/^sync_engine_log_max_items 3$/m)
    expect(answer.text).toMatch(/^sync_engine_degraded\{component="cache"\} 1$/m)
    expect(answer.text.endsWith("\n")).toBe(true)
  })
})
