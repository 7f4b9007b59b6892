import { Either } from "effect"
import { describe, expect, it } from "vitest"
import { evictionWarnings } from "../../src/cache/RedisServer.js"
import { escapePattern, keyPrefixIn, keyPrefixProblem, parseRedisUrl } from "../../src/config/RedisUrl.js"

const parsed = (url: string) => Either.getOrThrowWith(parseRedisUrl(url), (error) => error)

describe("parseRedisUrl", () => {
  it("reads host, port, database, user and password", () => {
    expect(parsed("redis://localhost")).toEqual({
      cluster: false,
      tls: false,
      nodes: [{ host: "localhost", port: 6379 }],
      username: undefined,
      password: undefined,
      database: 0,
      display: "redis://localhost"
    })
    expect(parsed("rediss://bob:p%40ss%3Aword@[::1]:7000/3")).toEqual({
      cluster: false,
      tls: true,
      nodes: [{ host: "::1", port: 7000 }],
      username: "bob",
      password: "p@ss:word",
      database: 3,
      display: "rediss://[::1]:7000/3"
    })
    expect(parsed("redis://:geheim@h:1").password).toBe("geheim")
  })

  it("reads the nodes of a cluster", () => {
    const target = parsed("redis-cluster://:s3cret@a:7000,b:7001,c")
    expect(target.nodes).toEqual([
      { host: "a", port: 7000 },
      { host: "b", port: 7001 },
      { host: "c", port: 6379 }
    ])
    expect([target.cluster, target.tls, target.password]).toEqual([true, false, "s3cret"])
    expect(target.display).toBe("redis-cluster://a:7000,b:7001,c")
    expect(parsed("rediss-cluster://a").tls).toBe(true)
  })

  it.each([
    "",
    "http://localhost",
    "redis://",
    "redis://s3cret@",
    "redis://:s3cret@host:0",
    "redis://:s3cret@host:99999",
    "redis://:s3cret@a,b",
    "redis://:s3cret@a/x",
    "redis-cluster://:s3cret@a/1",
    "redis://:s3cret%zz@a",
    "redis://:s3cret@a?x=1"
  ])("refuses %j without repeating it", (url) => {
    const result = parseRedisUrl(url)
    expect(Either.isLeft(result)).toBe(true)
    expect(JSON.stringify(result) + (Either.isLeft(result) ? result.left.message : "")).not.toContain(
      "s3cret"
    )
  })
})

describe("key prefixes", () => {
  it("refuses what could coincide with the keys of another prefix", () => {
    expect(keyPrefixProblem("sync-engine:")).toBeUndefined()
    expect(keyPrefixProblem("a:item:")).toContain("item:")
    expect(keyPrefixProblem("tree:x")).toContain("tree:")
    expect(keyPrefixProblem("x:branches:")).toContain("branches:")
    expect(keyPrefixProblem("leaves:")).toContain("leaves:")
    expect(keyPrefixProblem("")).toContain("0 bytes")
    expect(keyPrefixProblem("é".repeat(101))).toContain("202 bytes")
    expect(keyPrefixProblem("a\nb")).toContain("control")
    expect(keyPrefixProblem("a\ud800")).toContain("surrogate")
  })

  it("becomes one hash tag in a cluster", () => {
    expect(keyPrefixIn(false, "app:")).toBe("app:")
    expect(keyPrefixIn(true, "app:")).toBe("{app:}")
    expect(keyPrefixIn(true, "app{7}:")).toBe("app{7}:")
    expect(keyPrefixIn(true, "a{}b")).toBe("{a__b}")
  })

  it("is taken literally in patterns", () => {
    expect(escapePattern("a*b?[c]-^\\d")).toBe("a\\*b\\?\\[c\\]\\-\\^\\\\d")
  })
})

describe("evictionWarnings", () => {
  it("warns only of policies that may drop the tree", () => {
    expect(evictionWarnings("maxmemory:0\r\nmaxmemory_policy:noeviction\r\n")).toEqual([])
    expect(evictionWarnings("maxmemory:100\r\nmaxmemory_policy:volatile-lru\r\n")).toEqual([])
    const [warning] = evictionWarnings("# Memory\r\nmaxmemory:100\r\nmaxmemory_policy:allkeys-lru\r\n")
    expect(warning).toContain("allkeys-lru")
    expect(warning).toContain("100 bytes")
  })
})
