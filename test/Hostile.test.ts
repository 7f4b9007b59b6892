/** Whatever comes from outside as bytes or text is taken or refused with a reason: nothing throws, nothing hangs. */
import { createHash } from "node:crypto"
import { Effect, Either, FastCheck as fc } from "effect"
import { describe, expect, it } from "vitest"
import { recordIn, stampIn, valueHeadIn, writeValue } from "../src/cache/ItemValue.js"
import { totalIn } from "../src/cache/ReplyDecoder.js"
import { root } from "../src/cli/app/Cli.js"
import { parseIngestLine } from "../src/cli/ingest/IngestLine.js"
import { readCommandLine } from "../src/cli/parser/CommandLine.js"
import { load } from "../src/config/Load.js"
import { CuckooFilter } from "../src/filter/CuckooFilter.js"
import { decodeFilterSnapshot, encodeFilterSnapshot } from "../src/filter/FilterSnapshot.js"
import { parseBatchLine } from "../src/http/batch/BatchLine.js"
import { parseTarget } from "../src/http/middleware/RequestTarget.js"
import { contentHashOf } from "../src/SyncItem.js"
import { readObject } from "../src/shared/ndjson/ObjectLine.js"
import { recordOf } from "./cache/records.js"
import { atOnce } from "./support/atOnce.js"

const runs = { numRuns: 2000 }

/** Bytes of something valid, with some of them changed, cut off or put in. */
const bent = (valid: Uint8Array, untouched = 0) =>
  fc
    .array(
      fc.record({
        at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        byte: fc.integer({ min: 0, max: 255 }),
        what: fc.constantFrom("set", "cut", "insert")
      }),
      { minLength: 1, maxLength: 6 }
    )
    .map((changes) => {
      const bytes = [...valid]
      for (const { at, byte, what } of changes) {
        const index = untouched + Math.floor(at * (bytes.length - untouched))
        bytes.splice(index, what === "insert" ? 0 : 1, ...(what === "cut" ? [] : [byte]))
      }
      return Uint8Array.from(bytes)
    })

const lines = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc.json().map((text) => Buffer.from(text)),
  bent(
    Buffer.from('{"id":"a.b","content":{"n":[1,2,{"x":null}]},"version":7,"state":"new","traceparent":null}')
  ),
  bent(Buffer.from('{"id":"a","delete":true,"content_base64":"AAEC"}')),
  fc.integer({ min: 1, max: 20_000 }).map((depth) => Buffer.from(`{"id":"a","content":${"[".repeat(depth)}`))
)

const ends = (work: () => unknown): void => {
  const from = performance.now()
  work()
  expect(performance.now() - from).toBeLessThan(2000)
}

describe("hostile input", () => {
  it("lines of NDJSON", () => {
    fc.assert(
      fc.property(lines, (line) =>
        ends(() => {
          for (const read of [readObject, parseBatchLine, parseIngestLine]) {
            const outcome = read(line) as Either.Either<unknown, unknown>
            expect(Either.isEither(outcome)).toBe(true)
          }
        })
      ),
      runs
    )
  })

  it("values of the cache: never a record whose content is not what its hash says", () => {
    const content = Buffer.from('{"n":1}')
    const bytes = Buffer.alloc(500)
    const record = {
      ...recordOf("a", 5, content, { contentType: "json", state: "new" }),
      traceparent: `00-${"1".repeat(32)}-${"2".repeat(16)}-01`
    }
    const valid = bytes.subarray(0, writeValue(bytes, 0, record, 7))
    const values = fc.oneof(fc.uint8Array({ maxLength: 300 }), bent(valid), fc.constant(valid))
    fc.assert(
      fc.property(values, (some) => {
        const value = Buffer.from(some)
        const read = recordIn("a", value)
        if (read !== undefined) expect(contentHashOf(read.record.content)).toBe(read.record.contentHash)
        valueHeadIn("a", value)
        stampIn(value)
        totalIn(value)
      }),
      runs
    )
  })

  it("snapshots of the filter, their checksum put right", () => {
    const filter = new CuckooFilter({ capacity: 100 })
    for (let n = 0; n < 50; n++) filter.add(`item.${n}`)
    const valid = atOnce(encodeFilterSnapshot({ filter, root: "ab".repeat(32), entryCount: 50 }))
    expect(typeof decodeFilterSnapshot(valid)).toBe("object")
    const checksumBytes = 32
    const body = valid.subarray(0, valid.length - checksumBytes)
    fc.assert(
      // Behind magic and format, which are looked at first.
      fc.property(bent(body, 8), fc.boolean(), (bytes, right) =>
        ends(() => {
          const sum = right ? createHash("sha256").update(bytes).digest() : Buffer.alloc(checksumBytes)
          const decoded = decodeFilterSnapshot(Buffer.concat([bytes, sum]))
          if (!right) expect(typeof decoded).toBe("string")
          else if (typeof decoded !== "string") decoded.filter.has("item.1")
        })
      ),
      runs
    )
  })

  it("request targets", () => {
    const target = fc.oneof(
      fc.string({ unit: "binary", maxLength: 60 }),
      fc
        .array(fc.constantFrom("/", "?", "%", "%2", "%2f", "%ff", "a", "..", "=", "&", "#", "+"), {
          maxLength: 20
        })
        .map((parts) => `/${parts.join("")}`)
    )
    fc.assert(
      fc.property(target, (url) => Either.isEither(parseTarget(url))),
      runs
    )
  })

  it("command lines", () => {
    const word = fc.oneof(
      fc.constantFrom(
        "put",
        "get",
        "--",
        "-",
        "--url",
        "--url=",
        "--json",
        "dead-letters",
        "retry",
        "--=",
        "-h",
        "--help",
        "run"
      ),
      fc.string({ unit: "binary", maxLength: 12 }),
      fc.string({ maxLength: 8 }).map((name) => `--${name}`)
    )
    fc.assert(
      fc.property(fc.array(word, { maxLength: 8 }), (args) => Either.isEither(readCommandLine(root, args))),
      runs
    )
  })

  it("configuration: every value is taken or refused by its name", () => {
    const name = fc.constantFrom(
      "SQL_URL",
      "REDIS_URL",
      "WAL_MAX_BYTES",
      "HEALTH_INTERVAL",
      "READ_ONLY",
      "HTTP_PORT",
      "DATA_DIR",
      "L1_MAX_BYTES",
      "CONFIG_FILE"
    )
    const value = fc.oneof(
      fc.string({ unit: "binary", maxLength: 30 }),
      fc.constantFrom(
        "",
        "none",
        "1e9",
        "-1",
        "0x10",
        "10GB",
        "1 ms",
        "mysql://",
        "mysql://a:b@[::1]:99999/d",
        "redis://h/x",
        "sqlite:",
        "true",
        "9".repeat(400),
        "mysql://u:p@h/d?ssl=%"
      ),
      bent(Buffer.from("mysql://user:secret@db.example:3306/name?connectTimeout=3s")).map((bytes) =>
        Buffer.from(bytes).toString("latin1")
      )
    )
    fc.assert(
      fc.property(
        fc.dictionary(name, value, { maxKeys: 4 }),
        fc.string({ unit: "binary", maxLength: 80 }),
        (values, file) => {
          const env = Object.fromEntries(
            Object.entries(values).map(([key, one]) => [`SYNC_ENGINE_${key}`, one])
          )
          const outcome = Effect.runSync(
            Effect.either(load({ flags: {}, env, readFile: () => Effect.succeed(file) }))
          )
          if (Either.isLeft(outcome)) {
            expect(outcome.left._tag).toBe("InvalidConfig")
            // Options of addresses never show their value; another one shows what it does not understand.
            const shown = Object.entries(values).some(
              ([key, one]) => !key.endsWith("_URL") && one.includes("secret")
            )
            if (!shown) expect(outcome.left.message).not.toContain("secret")
          }
        }
      ),
      runs
    )
  })
})
