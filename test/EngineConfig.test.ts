import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import {
  Chunk,
  ConfigProvider,
  Duration,
  Effect,
  Either,
  FastCheck as FC,
  Fiber,
  Logger,
  Redacted,
  Stream
} from "effect"
import type { ConfigSources } from "../src/config/Load.js"
import { load } from "../src/config/Load.js"
import type { EngineConfig } from "../src/config/Model.js"
import { engineOptions, options } from "../src/config/Options.js"
import { sqlTarget, walFile } from "../src/config/Validation.js"
import type { EngineOptions } from "../src/EngineConfig.js"
import { defaults, engineConfig, fromPartial, LiveConfig } from "../src/EngineConfig.js"
import { InvalidConfig } from "../src/EngineError.js"
import { withOptionTables } from "./config/optionTables.js"

const missing = Object.assign(new Error("no such file"), { code: "ENOENT" })

const sources = (
  given: {
    readonly flags?: ConfigSources["flags"]
    readonly env?: ConfigSources["env"]
    readonly files?: Readonly<Record<string, string>>
  } = {}
): ConfigSources => ({
  flags: given.flags ?? {},
  env: given.env ?? {},
  readFile: (path) => {
    const text = given.files?.[path]
    return text === undefined ? Effect.fail(missing) : Effect.succeed(text)
  }
})

const loaded = (given: Parameters<typeof sources>[0]) => load(sources(given))

const refused = (given: Parameters<typeof sources>[0]) =>
  Effect.map(Effect.flip(loaded(given)), (error) => {
    expect(error).toBeInstanceOf(InvalidConfig)
    return error
  })

describe("defaults", () => {
  it.effect("are the design page's", () =>
    Effect.gen(function* () {
      const { engine, server } = yield* loaded({})
      expect(engine).toEqual({
        dataDir: ".sync-engine",
        sqlUrl: Redacted.make("sqlite:"),
        sqlPoolSize: 10,
        sqlWriteConcurrency: 1,
        sqlConnectTimeout: 5_000,
        sqlQueryTimeout: 30_000,
        sqlStartTimeout: 30_000,
        sqlAcceptOther: false,
        startWithoutSql: false,
        redisUrl: undefined,
        redisPrefix: "sync-engine:",
        walPath: undefined,
        walMaxItems: 1_000_000,
        walMaxBytes: 1_073_741_824,
        walDrainInterval: 5_000,
        flushTimeout: 15_000,
        pendingMaxBytes: 268_435_456,
        l1MaxBytes: 268_435_456,
        maxPayloadBytes: 16_777_216,
        maxBatchItems: 10_000,
        batchFlushInterval: 100,
        batchFlushCount: 1_000,
        batchFlushBytes: 1_048_576,
        filterWarmupBatch: 10_000,
        filterSnapshotInterval: 30_000,
        filterSnapshotInserts: 10_000,
        healthInterval: 30_000,
        watchdogInterval: 60_000,
        tombstoneRetention: 604_800_000,
        cdc: false,
        cdcMaxLen: 100_000,
        readOnly: false,
        shutdownDelay: 0,
        shutdownTimeout: 25_000
      })
      expect(server).toEqual({
        httpHost: "127.0.0.1",
        httpPort: 7420,
        adminToken: undefined,
        logLevel: "info",
        logFormat: "auto"
      })
      expect(defaults).toEqual(engine)
      expect(Either.getOrThrow(fromPartial({}))).toEqual(engine)
    })
  )

  it("are within their own bounds, and names are unique", () => {
    for (const { definition } of options) {
      if (definition.min !== undefined) {
        expect(definition.default).toBeGreaterThanOrEqual(definition.min)
        expect(definition.default).toBeLessThanOrEqual(definition.max!)
      }
    }
    expect(new Set(options.map(({ name }) => name)).size).toBe(options.length)
    expect(new Set(options.map(({ key }) => key)).size).toBe(options.length)
    expect(options.map(({ flag, name }) => flag.toUpperCase().replaceAll("-", "_") === name)).not.toContain(
      false
    )
  })
})

describe("precedence", () => {
  it.effect("flags, then variables, then the file, then defaults", () =>
    Effect.gen(function* () {
      const files = {
        "/etc/sync.json": JSON.stringify({
          WAL_MAX_ITEMS: 1,
          BATCH_FLUSH_COUNT: 2,
          HTTP_PORT: "8001",
          READ_ONLY: true
        })
      }
      const env = {
        SYNC_ENGINE_CONFIG: "/etc/sync.json",
        SYNC_ENGINE_WAL_MAX_ITEMS: "10",
        SYNC_ENGINE_BATCH_FLUSH_COUNT: "20",
        SYNC_ENGINE_URL: "http://127.0.0.1:7420",
        SYNC_ENGINE_TEST_MYSQL_URL: "mysql://",
        WAL_MAX_ITEMS: "not ours",
        PATH: "/bin"
      }
      const { engine, server } = yield* loaded({ flags: { "wal-max-items": "100" }, env, files })
      expect(engine.walMaxItems).toBe(100)
      expect(engine.batchFlushCount).toBe(20)
      expect(engine.readOnly).toBe(true)
      expect(server.httpPort).toBe(8001)
      expect(engine.walMaxBytes).toBe(defaults.walMaxBytes)
    })
  )

  it.effect("flags are known by name too, and --config beats the variable", () =>
    Effect.gen(function* () {
      const { engine } = yield* loaded({
        flags: { "--config": "b.json", WAL_MAX_ITEMS: "7", "cdc-maxlen": undefined },
        env: { SYNC_ENGINE_CONFIG: "a.json" },
        files: { "b.json": '\ufeff{"BATCH_FLUSH_COUNT":9}' }
      })
      expect([engine.walMaxItems, engine.batchFlushCount]).toEqual([7, 9])
    })
  )

  it.effect("a secret from a stronger source beats a weaker one, file or not", () =>
    Effect.gen(function* () {
      const { server } = yield* loaded({
        flags: { "admin-token": "from-flag" },
        env: { SYNC_ENGINE_ADMIN_TOKEN_FILE: "nowhere" }
      })
      expect(Redacted.value(server.adminToken!)).toBe("from-flag")
      const { engine } = yield* loaded({
        flags: { "redis-url": "none", config: "c.json" },
        files: { "c.json": '{"REDIS_URL":"redis://cache"}' }
      })
      expect(engine.redisUrl).toBeUndefined()
    })
  )
})

describe("values", () => {
  const sized = (text: string) =>
    Effect.map(loaded({ env: { SYNC_ENGINE_L1_MAX_BYTES: text } }), ({ engine }) => engine.l1MaxBytes)
  const timed = (text: string) =>
    Effect.map(loaded({ env: { SYNC_ENGINE_SHUTDOWN_DELAY: text } }), ({ engine }) => engine.shutdownDelay)

  it.effect("sizes", () =>
    Effect.gen(function* () {
      expect(yield* Effect.forEach(["16MiB", "1.5 GiB", "64 kib", "1048576", "5 B", "0"], sized)).toEqual([
        16 * 1024 ** 2,
        1.5 * 1024 ** 3,
        64 * 1024,
        1_048_576,
        5,
        0
      ])
      for (const [bad, part] of [
        ["16MB", "unknown unit"],
        ["1.5 B", "whole number of bytes"],
        ["-1", "not a size"],
        ["lots", "not a size"],
        ["2000TiB", "above the most of 1 TiB"]
      ] as const) {
        expect((yield* Effect.flip(sized(bad))).message).toContain(part)
      }
    })
  )

  it.effect("durations", () =>
    Effect.gen(function* () {
      const good = ["5 s", "100 millis", "PT5S", "250", "2min", "1 hour", "0.07 s", "PT1M30S", "pt0.5s", "0"]
      expect(yield* Effect.forEach(good, timed)).toEqual([
        5_000, 100, 5_000, 250, 120_000, 3_600_000, 70, 90_000, 500, 0
      ])
      for (const [bad, part] of [
        ["5 fortnights", "unknown unit"],
        ["0.5 ms", "whole number of milliseconds"],
        ["P", "not a duration"],
        ["PT", "not a duration"],
        ["-5s", "not a duration"],
        ["2 h", "2 h is above the most of 1 h"],
        ["P1D", "above the most"]
      ] as const) {
        expect((yield* Effect.flip(timed(bad))).message).toContain(part)
      }
    })
  )

  it.effect("booleans, choices, integers", () =>
    Effect.gen(function* () {
      for (const [text, value] of [
        ["true", true],
        ["ON", true],
        ["yes", true],
        ["1", true],
        ["off", false],
        ["No", false],
        ["0", false]
      ] as const) {
        const { engine } = yield* loaded({ env: { SYNC_ENGINE_READ_ONLY: text } })
        expect(engine.readOnly).toBe(value)
      }
      const { server } = yield* loaded({
        env: { SYNC_ENGINE_LOG_LEVEL: "WARNING", SYNC_ENGINE_LOG_FORMAT: "json" }
      })
      expect([server.logLevel, server.logFormat]).toEqual(["warning", "json"])
      for (const [name, value] of [
        ["READ_ONLY", "maybe"],
        ["READ_ONLY", "constructor"],
        ["LOG_LEVEL", "loud"],
        ["WAL_MAX_ITEMS", "1e6"],
        ["WAL_MAX_ITEMS", "0x10"],
        ["WAL_MAX_ITEMS", " 5"],
        ["WAL_MAX_ITEMS", "99999999999999999999"],
        ["HTTP_PORT", "65536"],
        ["HTTP_HOST", "a b"],
        ["DATA_DIR", "a\u0000b"],
        ["REDIS_PREFIX", "my-item:"]
      ] as const) {
        const error = yield* refused({ env: { [`SYNC_ENGINE_${name}`]: value } })
        expect(error.name).toBe(`SYNC_ENGINE_${name}`)
        expect(error.allowed).not.toBe("")
      }
    })
  )

  it.effect("every number is refused just outside its range, with name and range", () =>
    Effect.gen(function* () {
      for (const { definition, flag, name } of options) {
        if (definition.min === undefined) continue
        const above = yield* refused({ flags: { [flag]: String(definition.max! + 1) } })
        expect(above.name).toBe(`--${flag}`)
        expect(above.problem).toContain("above")
        expect(above.allowed).toContain(" to ")
        const below = yield* refused({ env: { [`SYNC_ENGINE_${name}`]: String(definition.min - 1) } })
        expect(below.name).toBe(`SYNC_ENGINE_${name}`)
      }
    })
  )

  it.effect("empty values are refused everywhere", () =>
    Effect.gen(function* () {
      for (const { name } of options) {
        expect((yield* refused({ env: { [`SYNC_ENGINE_${name}`]: "" } })).problem).toContain("empty")
      }
      expect((yield* refused({ env: { SYNC_ENGINE_CONFIG: "" } })).problem).toContain("empty")
      expect((yield* refused({ env: { SYNC_ENGINE_SQL_URL_FILE: "" } })).problem).toContain("empty")
    })
  )

  it.effect("a bad value is refused even where another source overrides it", () =>
    Effect.gen(function* () {
      const error = yield* refused({
        flags: { "wal-max-items": "5" },
        env: { SYNC_ENGINE_WAL_MAX_ITEMS: "five" }
      })
      expect(error.name).toBe("SYNC_ENGINE_WAL_MAX_ITEMS")
    })
  )
})

describe("names", () => {
  it.effect("unknown ones are refused in every source, with the nearest known one", () =>
    Effect.gen(function* () {
      const variable = yield* refused({ env: { SYNC_ENGINE_WAL_MAX_ITMES: "5" } })
      expect(variable.name).toBe("SYNC_ENGINE_WAL_MAX_ITMES")
      expect(variable.problem).toBe("is unknown; did you mean SYNC_ENGINE_WAL_MAX_ITEMS?")
      const flag = yield* refused({ flags: { "wal-max-item": "5" } })
      expect(flag.message).toContain("did you mean --wal-max-items?")
      const key = yield* refused({ flags: { config: "f" }, files: { f: '{"walMaxItems":5}' } })
      expect(key.name).toBe("walMaxItems (in the configuration file)")
      expect(key.problem).toContain("did you mean WAL_MAX_ITEMS?")
      expect((yield* refused({ env: { SYNC_ENGINE_QUUX_FROBNICATION: "1" } })).problem).toBe("is unknown")
      expect((yield* refused({ env: { SYNC_ENGINE_WAL_MAX_ITEMS_FILE: "x" } })).problem).toContain("unknown")
      expect((yield* refused({ env: { SYNC_ENGINE_BACKUP_URL: "x" } })).problem).toContain("unknown")
      expect((yield* refused({ flags: { config: "f" }, files: { f: '{"CONFIG":"g"}' } })).problem).toContain(
        "unknown"
      )
    })
  )
})

/** What Kubernetes sets in every pod of a namespace that has a Service of this name. */
const serviceVariables = (prefix: string, port: number) => ({
  [`${prefix}_SERVICE_HOST`]: "10.0.171.239",
  [`${prefix}_SERVICE_PORT`]: `${port}`,
  [`${prefix}_SERVICE_PORT_HTTP_API`]: `${port}`,
  [`${prefix}_PORT`]: `tcp://10.0.171.239:${port}`,
  [`${prefix}_PORT_${port}_TCP`]: `tcp://10.0.171.239:${port}`,
  [`${prefix}_PORT_${port}_TCP_PROTO`]: "tcp",
  [`${prefix}_PORT_${port}_TCP_PORT`]: `${port}`,
  [`${prefix}_PORT_${port}_TCP_ADDR`]: "10.0.171.239",
  [`${prefix}_PORT_53_UDP`]: "udp://[fd00::1]:53",
  [`${prefix}_PORT_53_UDP_ADDR`]: "fd00::1"
})

describe("variables that Kubernetes makes of a Service's name", () => {
  it.effect.each(["SYNC_ENGINE", "SYNC_ENGINE_HTTP", "SYNC_ENGINE_REDIS", "SYNC_ENGINE_A_B"])(
    "%s_…: ignored with a notice, in which each is named",
    (prefix) =>
      Effect.gen(function* () {
        const lines: Array<string> = []
        const logger = Logger.make(({ message }) => void lines.push(String(message)))
        const env = serviceVariables(prefix, 7420)
        const { server } = yield* Effect.provide(
          loaded({ env: { ...env, SYNC_ENGINE_LOG_LEVEL: "error" } }),
          Logger.replace(Logger.defaultLogger, logger)
        )
        expect([server.httpPort, server.logLevel]).toEqual([7420, "error"])
        expect(lines).toHaveLength(1)
        for (const name of Object.keys(env)) expect(lines[0]).toContain(name)
      })
  )

  it.effect.each([
    ["SYNC_ENGINE_PORT", "7420"],
    ["SYNC_ENGINE_HTTP_PORT", "http://10.0.0.1:80"],
    ["SYNC_ENGINE_SERVICE_HOST", "sync-engine.default"],
    ["SYNC_ENGINE_HTTP_PROT", "tcp://10.0.0.1:80"],
    ["SYNC_ENGINE_PORT_7420", "tcp://10.0.0.1:80"]
  ] as const)("%s=%s is refused: a mistake, and not Kubernetes", ([name, value]) =>
    Effect.gen(function* () {
      expect((yield* refused({ env: { [name]: value } })).name).toBe(name)
    })
  )
})

describe("the file", () => {
  it.effect("unreadable, not JSON, not an object, values of the wrong type", () =>
    Effect.gen(function* () {
      const unreadable = yield* refused({ env: { SYNC_ENGINE_CONFIG: "gone.json" } })
      expect(unreadable.name).toBe("SYNC_ENGINE_CONFIG")
      expect(unreadable.problem).toBe("the file cannot be read (ENOENT)")
      for (const text of ["[]", "null", '"text"', "{", ""]) {
        const error = yield* refused({ flags: { config: "f" }, files: { f: text } })
        expect(error.name).toBe("--config")
      }
      for (const text of [
        '{"WAL_MAX_ITEMS": null}',
        '{"WAL_MAX_ITEMS": [5]}',
        '{"WAL_MAX_ITEMS": 1.5}',
        '{"READ_ONLY": 1}',
        '{"DATA_DIR": 5}',
        '{"ADMIN_TOKEN": 12345}',
        '{"ADMIN_TOKEN_FILE": 12345}',
        '{"LOG_LEVEL": {}}',
        `{"WAL_MAX_ITEMS": ${"[".repeat(50_000)}${"]".repeat(50_000)}}`,
        `{"DATA_DIR": ${'{"a":'.repeat(50_000)}1${"}".repeat(50_000)}}`
      ]) {
        const error = yield* refused({ flags: { config: "f" }, files: { f: text } })
        expect(error.name).toContain("(in the configuration file)")
        expect(error.message.length).toBeLessThan(300)
      }
    })
  )

  it.effect("the file has every name once, however it is written", () =>
    Effect.gen(function* () {
      for (const text of [
        '{"WAL_MAX_ITEMS": 500, "WAL_MAX_ITEMS": 500}',
        '{"WAL_MAX_ITEMS": 500, "DATA_DIR": "d", "WAL_MAX_ITEMS": 600}',
        '\ufeff {"WAL_MAX_ITEMS": 500, "WAL_MAX_\\u0049TEMS": 600}'
      ]) {
        const error = yield* refused({ flags: { config: "f" }, files: { f: text } })
        expect(error.name).toBe("WAL_MAX_ITEMS (in the configuration file)")
        expect(error.problem).toBe("stands there twice")
      }
      const secret = yield* refused({
        flags: { config: "f" },
        files: { f: '{"ADMIN_TOKEN": "hunter2-a", "ADMIN_TOKEN": "hunter2-b"}' }
      })
      expect(secret.message).not.toContain("hunter2")
    })
  )
})

describe("secrets", () => {
  const secret = "hunter2-Zq"

  it.effect("come from files, without one trailing newline", () =>
    Effect.gen(function* () {
      const files = { "/run/token": `${secret}\n`, "/run/sql": "mysql://u:p@db/app\r\n" }
      const { engine, server } = yield* loaded({
        flags: { "sql-url-file": "/run/sql" },
        env: { SYNC_ENGINE_ADMIN_TOKEN_FILE: "/run/token" },
        files
      })
      expect(Redacted.value(server.adminToken!)).toBe(secret)
      expect(Redacted.value(engine.sqlUrl)).toBe("mysql://u:p@db/app")
      expect(String(server.adminToken)).not.toContain(secret)
      const two = yield* refused({
        env: { SYNC_ENGINE_ADMIN_TOKEN_FILE: "t" },
        files: { t: `${secret}\n\n` }
      })
      expect(two.name).toBe("SYNC_ENGINE_ADMIN_TOKEN_FILE")
    })
  )

  it.effect("both ways at once, unreadable and empty files are errors", () =>
    Effect.gen(function* () {
      const both = yield* refused({
        env: { SYNC_ENGINE_ADMIN_TOKEN: secret, SYNC_ENGINE_ADMIN_TOKEN_FILE: "t" },
        files: { t: secret }
      })
      expect(both.message).toContain("SYNC_ENGINE_ADMIN_TOKEN_FILE are both set")
      const gone = yield* refused({ env: { SYNC_ENGINE_REDIS_URL_FILE: "gone" } })
      expect(gone.name).toBe("SYNC_ENGINE_REDIS_URL_FILE")
      expect(gone.problem).toBe("the file cannot be read (ENOENT)")
      expect(
        (yield* refused({ env: { SYNC_ENGINE_ADMIN_TOKEN_FILE: "t" }, files: { t: "\n" } })).problem
      ).toContain("empty")
    })
  )

  it.effect("never appear in errors", () =>
    Effect.gen(function* () {
      const withSecret: ReadonlyArray<Parameters<typeof sources>[0]> = [
        { env: { SYNC_ENGINE_SQL_URL: secret } },
        { env: { SYNC_ENGINE_SQL_URL: `mysql://u:${secret}@host` } },
        { env: { SYNC_ENGINE_SQL_URL: `mysql://u:${secret}%zz@host/db` } },
        { env: { SYNC_ENGINE_SQL_URL: `mysql://u:${secret}@host/db?ssl=1` } },
        { env: { SYNC_ENGINE_SQL_URL: `mysql://u:${secret}@host:99999/db` } },
        { env: { SYNC_ENGINE_SQL_URL: `mysql://u:12/3?${secret}@host/db` } },
        { env: { SYNC_ENGINE_SQL_URL: `mysql://u:p@host/db?tls=${secret}` } },
        { env: { SYNC_ENGINE_SQL_URL: `${secret}://host/db` } },
        { env: { SYNC_ENGINE_SQL_URL: `sqlite://${secret}` } },
        { env: { SYNC_ENGINE_REDIS_URL: secret } },
        { env: { SYNC_ENGINE_REDIS_URL: `redis://:${secret}@a,b` } },
        { env: { SYNC_ENGINE_ADMIN_TOKEN: `${secret} ` } },
        { flags: { "admin-token": `${secret} ` } },
        { env: { SYNC_ENGINE_ADMIN_TOKEN_FILE: secret } },
        { env: { SYNC_ENGINE_ADMIN_TOKEN_FILE: "t" }, files: { t: `${secret}\nmore` } },
        { env: { SYNC_ENGINE_ADMIN_TOKEN: secret, SYNC_ENGINE_ADMIN_TOKEN_FILE: "t" }, files: { t: secret } },
        { flags: { config: "f" }, files: { f: `{"ADMIN_TOKEN": "${secret}", }` } },
        { flags: { config: "f" }, files: { f: `{"ADMIN_TOKEN": ["${secret}"]}` } },
        { flags: { config: "f" }, files: { f: `{"ADMIN_TOKEN": {"x": "${secret}"}}` } },
        { flags: { config: "f" }, files: { f: secret } }
      ]
      for (const given of withSecret) {
        const error = yield* refused(given)
        expect(`${error.message} ${JSON.stringify(error)} ${error.stack}`).not.toContain(secret)
      }
      const unredacted = fromPartial({ sqlUrl: `mysql://u:${secret}@h/d` as unknown as Redacted.Redacted })
      expect(JSON.stringify(Either.getOrThrow(Either.flip(unredacted)))).not.toContain(secret)
    })
  )
})

describe("URLs", () => {
  const target = (url: string) =>
    Either.flatMap(fromPartial({ sqlUrl: Redacted.make(url), dataDir: "/data" }), sqlTarget)

  it("SQL_URL", () => {
    expect(Either.getOrThrow(target("sqlite:"))).toMatchObject({ _tag: "Sqlite", path: "/data/archive.db" })
    expect(Either.getOrThrow(target("sqlite:/var/a.db"))).toMatchObject({ path: "/var/a.db" })
    expect(Either.getOrThrow(target("sqlite:///var/a.db"))).toMatchObject({ path: "/var/a.db" })
    expect(Either.getOrThrow(target("sqlite:./a.db"))).toMatchObject({ path: "./a.db" })
    expect(Either.getOrThrow(target("none"))).toEqual({ _tag: "None", display: "none" })
    for (const [url, host, port, database, display] of [
      ["mysql://db/app", "db", 3306, "app", "mysql://db:3306/app"],
      ["mysql://db/app?tls=true", "db", 3306, "app", "mysql://db:3306/app"],
      ["MariaDB://us%40er:p%2F:w@[::1]:33/d-b", "::1", 33, "d-b", "mysql://us%40er@[::1]:33/d-b"]
    ] as const) {
      const found = Either.getOrThrow(target(url))
      expect(found).toEqual({ _tag: "MySql", url: Redacted.make(url), host, port, database, display })
      expect(JSON.stringify(found)).not.toContain("p%2F")
    }
    for (const bad of [
      "postgres://h/d",
      "sqlite::memory:",
      "sqlite:/a?mode=ro",
      "sqlite://host/a",
      "mysql:db",
      "mysql://h",
      "mysql://h/",
      "mysql://h/a/b",
      "mysql:///d",
      "mysql://h:0/d",
      "mysql://u:p@h:1:2/d",
      "mysql://h/d?charset=x",
      "mysql://h/d?tls=perhaps",
      "mysql://h/d?tls=true&tls=false",
      "mysql://h/d?tls=true&tls=true",
      "mysql://h/d#x"
    ]) {
      const error = Either.getOrThrow(Either.flip(target(bad)))
      expect(error.allowed, bad).toContain("sqlite:")
    }
  })

  it("REDIS_URL", () => {
    for (const good of ["redis://h", "rediss://:p@h:1/2", "redis-cluster://a:1,b:2"]) {
      expect(Either.isRight(fromPartial({ redisUrl: Redacted.make(good) })), good).toBe(true)
    }
    for (const bad of ["http://h", "redis://a,b", "redis://h:0", "redis://"]) {
      expect(Either.isLeft(fromPartial({ redisUrl: Redacted.make(bad) })), bad).toBe(true)
    }
  })

  it("the log's file", () => {
    expect(walFile({ dataDir: "/data", walPath: undefined })).toBe("/data/wal.db")
    expect(walFile({ dataDir: "/data", walPath: "/fast/log" })).toBe("/fast/log")
  })
})

describe("fromPartial", () => {
  const problem = (partial: Partial<EngineConfig>) => Either.getOrThrow(Either.flip(fromPartial(partial)))

  it("refuses unknown keys, wrong types and values outside their range", () => {
    const unknown = { walMaxItem: 5 } as Partial<EngineConfig>
    expect(problem(unknown).message).toContain("did you mean walMaxItems?")
    const prototype = JSON.parse('{"__proto__": 5}') as Partial<EngineConfig>
    expect(problem(Object.fromEntries(Object.entries(prototype))).message).toContain("unknown")
    expect(problem({ walMaxItems: 0 }).message).toContain("from 1 to 1,000,000,000")
    expect(problem({ walMaxItems: 1.5 }).problem).toContain("whole number")
    expect(problem({ walMaxItems: Number.NaN }).problem).toContain("whole number")
    expect(problem({ walMaxItems: "5" as unknown as number }).problem).toContain("whole number")
    expect(problem({ cdc: "on" as unknown as boolean }).problem).toContain("not a boolean")
    expect(problem({ dataDir: "" }).problem).toBe("is empty")
    expect(problem({ sqlUrl: Redacted.make(5) as unknown as Redacted.Redacted }).problem).toContain(
      "not a Redacted string"
    )
  })

  it("refuses a lone surrogate in every option that is a text", () => {
    const written = { sqlUrl: "mysql://u:\ud800@h/d", redisUrl: "redis://:\ud800@h" }
    for (const { definition, key, scope } of options) {
      if (definition.kind !== "text" && definition.kind !== "secret") continue
      const text = written[key as keyof typeof written] ?? "a\ud800"
      const value = definition.kind === "secret" ? Redacted.make(text) : text
      for (const checked of [definition.read(text), definition.check(value)]) {
        expect(Either.getOrUndefined(Either.flip(checked)), `${scope} ${key}`).toContain("lone surrogate")
      }
    }
  })

  it("takes undefined for not given", () => {
    const partial = { walMaxItems: undefined, redisUrl: undefined } as unknown as Partial<EngineConfig>
    expect(Either.getOrThrow(fromPartial(partial))).toEqual(defaults)
  })

  it("refuses values that do not fit together", () => {
    expect(problem({ walMaxBytes: 1024 * 1024 }).name).toBe("MAX_PAYLOAD_BYTES")
    expect(Either.isRight(fromPartial({ walMaxBytes: 1024 * 1024, maxPayloadBytes: 1024 }))).toBe(true)
    expect(problem({ sqlPoolSize: 2, sqlWriteConcurrency: 3 }).name).toBe("SQL_WRITE_CONCURRENCY")
    expect(problem({ cdc: true }).name).toBe("CDC")
    expect(Either.isRight(fromPartial({ cdc: true, redisUrl: Redacted.make("redis://h") }))).toBe(true)
    expect(problem({ dataDir: "d", walPath: resolve("d", "archive.db") }).name).toBe("WAL_PATH")
    // However it is spelled.
    expect(problem({ dataDir: "d", walPath: "d/../d/./archive.db" }).name).toBe("WAL_PATH")
    const sqlUrl = Redacted.make("sqlite:d/x/../one.db")
    expect(problem({ sqlUrl, walPath: resolve("d", "one.db") }).name).toBe("WAL_PATH")
    expect(Either.isRight(fromPartial({ sqlUrl, walPath: resolve("d", "two.db") }))).toBe(true)
  })

  it("what a text says and what a program says are the same", () => {
    const numbers = engineOptions.filter(({ definition }) => "min" in definition)
    FC.assert(
      FC.property(
        FC.constantFrom(...numbers),
        FC.oneof(FC.integer({ min: -2, max: 2000 }), FC.integer({ min: 0, max: 2 ** 41 })),
        (option, value) => {
          const typed = fromPartial({ [option.key]: value })
          const text = Effect.runSync(Effect.either(loaded({ flags: { [option.flag]: String(value) } })))
          expect(Either.isRight(text)).toBe(Either.isRight(typed))
          if (Either.isRight(text)) expect(text.right.engine).toEqual(Either.getOrThrow(typed))
        }
      ),
      { seed: 11, numRuns: 300 }
    )
  })
})

describe("engineConfig", () => {
  const withProvider = (entries: ReadonlyArray<readonly [string, string]>) =>
    Effect.withConfigProvider(engineConfig, ConfigProvider.fromMap(new Map(entries)))

  it.effect("reads the ConfigProvider of the context", () =>
    Effect.gen(function* () {
      const config = yield* withProvider([
        ["SYNC_ENGINE_WAL_MAX_BYTES", "2GiB"],
        ["SYNC_ENGINE_REDIS_URL", "redis-cluster://a:1,b:2"],
        ["SYNC_ENGINE_HTTP_PORT", "not the engine's"]
      ])
      expect(config.walMaxBytes).toBe(2 * 1024 ** 3)
      expect(Redacted.value(config.redisUrl!)).toBe("redis-cluster://a:1,b:2")
      const error = yield* Effect.flip(withProvider([["SYNC_ENGINE_CDC", "perhaps"]]))
      expect(error.name).toBe("SYNC_ENGINE_CDC")
    })
  )

  it.live("reads files of secrets from the file system", () =>
    Effect.gen(function* () {
      const gone = yield* Effect.flip(withProvider([["SYNC_ENGINE_SQL_URL_FILE", "/nowhere/at/all"]]))
      expect(gone.problem).toBe("the file cannot be read (ENOENT)")
      const endless = yield* Effect.flip(withProvider([["SYNC_ENGINE_SQL_URL_FILE", "/dev/zero"]]))
      expect(endless.problem).toBe("the file cannot be read (TOO_LARGE)")
      const found = yield* Effect.flip(withProvider([["SYNC_ENGINE_CONFIG", "package.json"]]))
      expect(found.name).toBe("name (in the configuration file)")
    })
  )
})

describe("LiveConfig", () => {
  const small: EngineConfig = { ...defaults, walMaxBytes: 1024 ** 2, maxPayloadBytes: 1024 ** 2 }

  it.live("update changes live options for every reader at once", () =>
    Effect.gen(function* () {
      const live = yield* LiveConfig
      expect(live.unsafeGet()).toBe(defaults)
      const seen = yield* Effect.fork(Stream.runCollect(Stream.take(live.changes, 2)))
      yield* Effect.sleep("1 millis")
      const next = yield* live.update({ batchFlushCount: 5, readOnly: true, batchFlushBytes: 2048 })
      expect(next).toEqual({ ...defaults, batchFlushCount: 5, readOnly: true, batchFlushBytes: 2048 })
      expect(live.unsafeGet()).toBe(next)
      expect(Chunk.toReadonlyArray(yield* Fiber.join(seen))).toEqual([defaults, next])
    }).pipe(Effect.provide(LiveConfig.layer(defaults)))
  )

  it.effect("takes durations in every form, and a number as milliseconds", () =>
    Effect.gen(function* () {
      const config = yield* fromPartial({
        batchFlushInterval: "250 millis",
        healthInterval: Duration.seconds(10),
        shutdownTimeout: 3000
      })
      expect(config).toMatchObject({ batchFlushInterval: 250, healthInterval: 10_000, shutdownTimeout: 3000 })
      const live = yield* LiveConfig
      expect((yield* live.update({ walDrainInterval: "2 seconds" })).walDrainInterval).toBe(2000)
      for (const wrong of ["soon", "1 nanos", Duration.infinity, "-5 seconds"]) {
        const refused = yield* Effect.flip(live.update({ walDrainInterval: wrong as never }))
        expect(refused).toMatchObject({ _tag: "InvalidConfig", name: "walDrainInterval" })
      }
      // Every time is one.
      for (const { definition, key } of engineOptions) {
        if (definition.kind !== "duration") continue
        const given = { [key]: `${definition.max} millis` }
        expect(yield* fromPartial(given as EngineOptions)).toMatchObject({ [key]: definition.max })
      }
    }).pipe(Effect.provide(LiveConfig.layer(defaults)))
  )

  it.effect("refuses invalid values, unknown keys, options read at start, and changes nothing then", () =>
    Effect.gen(function* () {
      const live = yield* LiveConfig
      const refusal = (patch: Partial<EngineConfig>) => Effect.flip(live.update(patch))
      expect((yield* refusal({ readOnly: true, batchFlushCount: 0 })).name).toBe("batchFlushCount")
      const start = yield* refusal({ walMaxItems: 5 })
      expect(start.problem).toContain("only at start")
      expect(start.allowed).toContain("batchFlushCount")
      expect((yield* refusal({ readonly: true } as Partial<EngineConfig>)).problem).toContain("readOnly?")
      expect((yield* refusal({ maxPayloadBytes: 2 * 1024 ** 2 })).name).toBe("MAX_PAYLOAD_BYTES")
      expect(live.unsafeGet()).toBe(small)
      // The same value is no change; a secret is compared by what it holds.
      yield* live.update({ walMaxBytes: small.walMaxBytes, sqlUrl: Redacted.make("sqlite:"), readOnly: true })
      expect(live.unsafeGet()).toEqual({ ...small, readOnly: true })
    }).pipe(Effect.provide(LiveConfig.layer(small)))
  )

  it.effect("concurrent updates are all kept", () =>
    Effect.gen(function* () {
      const live = yield* LiveConfig
      yield* Effect.all(
        [
          live.update({ readOnly: true }),
          live.update({ batchFlushCount: 7 }),
          live.update({ healthInterval: 9 })
        ],
        { concurrency: "unbounded" }
      )
      expect(live.unsafeGet()).toMatchObject({ readOnly: true, batchFlushCount: 7, healthInterval: 9 })
    }).pipe(Effect.provide(LiveConfig.layer(defaults)))
  )
})

describe("docs/configuration.md", () => {
  it("holds the tables as they are now", () => {
    const page = readFileSync(new URL("../docs/configuration.md", import.meta.url), "utf8")
    expect(withOptionTables(page)).toBe(page)
    for (const { name } of options) expect(page).toContain(`\`${name}\``)
    expect(withOptionTables("no place for tables")).toBeUndefined()
  })
})
