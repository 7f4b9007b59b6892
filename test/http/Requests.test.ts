import { Either, FastCheck as fc } from "effect"
import { describe, expect, it } from "vitest"
import { etagOf, expectedVersion, noneMatchHolds, versionOfEtag } from "../../src/http/api/Preconditions.js"
import { parseBatchLine } from "../../src/http/batch/BatchLine.js"
import { parseTarget, routeOf } from "../../src/http/middleware/RequestTarget.js"

describe("preconditions", () => {
  it("reads its own tags and no others", () => {
    expect(versionOfEtag(etagOf(7))).toBe(7)
    expect(versionOfEtag(etagOf(Number.MAX_SAFE_INTEGER))).toBe(Number.MAX_SAFE_INTEGER)
    const foreign = [
      'W/"7"',
      "7",
      '"0"',
      '"07"',
      '"9007199254740992"',
      '"a"',
      '""',
      "*",
      '"1", "2"',
      '"1',
      '"-1"'
    ]
    for (const tag of foreign) expect(versionOfEtag(tag)).toBeUndefined()
  })

  it("knows which version a write expects", () => {
    expect(expectedVersion(undefined, undefined)).toEqual(Either.right(undefined))
    expect(expectedVersion('"7"', undefined)).toEqual(Either.right(7))
    expect(expectedVersion(undefined, "*")).toEqual(Either.right(0))
    for (const [match, noneMatch] of [
      ["*", undefined],
      ['W/"7"', undefined],
      ["", undefined],
      [undefined, '"7"'],
      ['"7"', "*"]
    ] as const) {
      expect(Either.isLeft(expectedVersion(match, noneMatch))).toBe(true)
    }
  })

  it("compares weakly for reads", () => {
    for (const header of ["*", '"7"', 'W/"7"', '"1", W/"7"', ' "7" '])
      expect(noneMatchHolds(header, 7)).toBe(true)
    for (const header of [undefined, '"8"', "7", '"77"', ""]) expect(noneMatchHolds(header, 7)).toBe(false)
  })
})

describe("targets", () => {
  it("decodes every id that was encoded", () => {
    fc.assert(
      fc.property(fc.fullUnicodeString({ minLength: 1 }), (id) => {
        const target = Either.getOrThrow(parseTarget(`/items/${encodeURIComponent(id)}?a=b`))
        expect(target.segments).toEqual(["items", id])
        expect(target.canonical).toBe(`/items/${encodeURIComponent(id)}?a=b`)
      }),
      { seed: 7, numRuns: 300 }
    )
  })

  it("encodes what routers take for separators", () => {
    expect(Either.getOrThrow(parseTarget("/items/a;b")).canonical).toBe("/items/a%3Bb")
  })

  it("refuses what is no path, and broken encodings", () => {
    for (const url of [
      "*",
      "http://a/items/b",
      "items",
      "",
      "/a#b",
      "/items/%",
      "/items/%zz",
      "/items/%ff",
      "/items?a=%c3"
    ]) {
      expect(Either.isLeft(parseTarget(url))).toBe(true)
    }
  })

  it("finds the route, or says which methods and parameters there are", () => {
    const none = new Set<string>()
    const routes = [
      { method: "GET", segments: ["items"], parameters: new Set(["limit"]) },
      { method: "PUT", segments: ["items", ":id"], parameters: none },
      { method: "POST", segments: ["items"], parameters: none }
    ]
    const problem = (method: string, url: string) =>
      Either.getOrUndefined(Either.flip(routeOf(routes, method, Either.getOrThrow(parseTarget(url)))))
    for (const [method, url] of [
      ["GET", "/items?limit=1"],
      ["HEAD", "/items?limit="],
      ["GET", "/items?"],
      ["POST", "/items"],
      ["PUT", "/items/x"],
      ["PUT", "/items/"]
    ] as const) {
      expect([url, problem(method, url)]).toEqual([url, undefined])
    }
    expect(problem("PUT", "/items")).toMatchObject({ status: 405, headers: { allow: "GET, HEAD, POST" } })
    expect(problem("HEAD", "/items/x")).toMatchObject({ status: 405, headers: { allow: "PUT" } })
    for (const url of ["/nothing", "/", "/items/a/b", "/:id"]) {
      expect([url, problem("PUT", url)]).toMatchObject([url, { status: 404, error: "UnknownRoute" }])
    }
    for (const [method, url] of [
      ["POST", "/items?limit=1"],
      ["GET", "/items?limit=1&limit=1"],
      ["GET", "/items?Limit=1"],
      ["GET", "/items?limit%20=1"],
      ["PUT", "/items/x?toString=1"]
    ] as const) {
      expect([url, problem(method, url)]).toMatchObject([url, { status: 400, error: "InvalidRequest" }])
    }
  })
})

const parse = (line: string | object) =>
  parseBatchLine(Buffer.from(typeof line === "string" ? line : JSON.stringify(line)))

describe("batch lines", () => {
  it("takes content over byte for byte", () => {
    const content = '{"n": 1.0000000000000000001, "b":[1 , 2],"\\u0061":"\\n"}'
    const line = Either.getOrThrow(parse(`{"content": ${content} ,"id":"a.b","version":3,"state":"s"}`))
    expect(line).toMatchObject({ _tag: "Put", ttlSeconds: undefined })
    if (line._tag !== "Put") throw new Error("expected a put")
    expect(Buffer.from(line.item.content as Uint8Array).toString()).toBe(content)
    expect(line.item).toMatchObject({ id: "a.b", version: 3, state: "s", contentType: "json" })
  })

  it("takes base64, time to live and the names of ingest files", () => {
    for (const more of [
      { content_base64: "AAEC", ttl_seconds: 1.5 },
      { contentBase64: "AAEC", ttlSeconds: 1.5 }
    ]) {
      const line = Either.getOrThrow(parse({ id: "a", ...more, state: null }))
      if (line._tag !== "Put") throw new Error("expected a put")
      expect([...(line.item.content as Uint8Array)]).toEqual([0, 1, 2])
      expect(line.item.contentType).toBeUndefined()
      expect(line.item.state).toBeUndefined()
      expect(line.ttlSeconds).toBe(1.5)
    }
  })

  it("takes deletions", () => {
    expect(parse({ id: "a", delete: true })).toEqual(Either.right({ _tag: "Delete", id: "a" }))
  })

  const bad: ReadonlyArray<string | object> = [
    "",
    "nonsense",
    "[]",
    "null",
    "1",
    '"a"',
    "{",
    {},
    { id: 1, content: 1 },
    { id: "", content: 1 },
    { id: "a..b", content: 1 },
    { id: "a" },
    { id: "a", content: 1, content_base64: "AA==" },
    { id: "a", content_base64: "?" },
    { id: "a", content_base64: 1 },
    { id: "a", content: 1, version: 0 },
    { id: "a", content: 1, version: "1" },
    { id: "a", content: 1, state: "" },
    { id: "a", content: 1, state: 1 },
    { id: "a", content: 1, extra: 1 },
    { id: "a", content: 1, ttl_seconds: 0 },
    { id: "a", content: 1, content_type: "xml" },
    { id: "a", delete: false },
    { id: "a", delete: true, content: 1 },
    { id: "a", content: 1, traceparent: "x" },
    '{"id":"a","id":"b","content":1}',
    '{"id":"a","contentBase64":"","content_base64":""}',
    '{"id":"a","content":1,"__proto__":1}'
  ]
  for (const line of bad) {
    it(`refuses ${JSON.stringify(line)}`, () => {
      const result = parse(line)
      expect(Either.isLeft(result)).toBe(true)
    })
  }

  it("refuses bytes that are not UTF-8", () => {
    const line = Buffer.concat([Buffer.from('{"id":"a","content":"'), Buffer.from([0xff]), Buffer.from('"}')])
    expect(parseBatchLine(line)).toMatchObject({ _tag: "Left", left: { problem: "is not valid UTF-8" } })
  })
})
