import { createHash } from "node:crypto"
import { describe, expect, it } from "@effect/vitest"
import { FastCheck as FC } from "effect"
import {
  compareVersions,
  contentHashOf,
  detectContentType,
  emptyContentHash,
  idProblem,
  isAtLeast,
  isJson,
  jsonOf,
  maxDetectedJsonBytes,
  prefixProblem,
  sameHead,
  stateProblem,
  textOf,
  tombstone,
  traceparentProblem,
  utf8Length,
  versionProblem
} from "../src/SyncItem.js"

const bytes = (text: string) => new TextEncoder().encode(text)

const isControl = (code: number) => code < 0x20 || (code >= 0x7f && code <= 0x9f)

/** Any string of UTF-16 units: the rules have to hold for those that are no Unicode, too. */
const anyText = FC.array(
  FC.oneof(FC.integer({ min: 0, max: 0xffff }), FC.integer({ min: 0x20, max: 0x7f }), FC.constant(0x2e)),
  {
    maxLength: 300
  }
).map((units) => String.fromCharCode(...units))

const wellFormed = (text: string) => Buffer.from(text, "utf8").toString("utf8") === text

describe("ids", () => {
  it("are valid exactly by the written rule (property)", () => {
    FC.assert(
      FC.property(anyText, (id) => {
        const valid =
          wellFormed(id) &&
          Buffer.byteLength(id) >= 1 &&
          Buffer.byteLength(id) <= 255 &&
          ![...id].some((character) => isControl(character.codePointAt(0)!)) &&
          id.split(".").every((segment) => segment.length > 0)
        expect(idProblem(id) === undefined).toBe(valid)
      }),
      { numRuns: 3000, seed: 1 }
    )
  })

  const segment = FC.string({ unit: "grapheme", minLength: 1, maxLength: 8 }).filter(
    (text) => !text.includes(".") && ![...text].some((character) => isControl(character.codePointAt(0)!))
  )

  it("of valid segments are valid, and stay so under their prefixes (property)", () => {
    FC.assert(
      FC.property(FC.array(segment, { minLength: 1, maxLength: 6 }), (segments) => {
        const id = segments.join(".")
        FC.pre(utf8Length(id) <= 255)
        expect(idProblem(id)).toBeUndefined()
        for (let depth = 1; depth <= segments.length; depth++) {
          expect(prefixProblem(segments.slice(0, depth).join("."))).toBeUndefined()
        }
        expect(idProblem(`${id}.`)).toBe("has an empty segment")
        expect(idProblem(`.${id}`)).toBe("has an empty segment")
        expect(idProblem(`${id}..x`)).toBeDefined()
      }),
      { numRuns: 500, seed: 2 }
    )
  })

  it("are bounded in bytes, not in characters", () => {
    expect(idProblem("x".repeat(255))).toBeUndefined()
    expect(idProblem("x".repeat(256))).toBe("has 256 bytes in UTF-8; at most 255 are allowed")
    expect(idProblem("é".repeat(127))).toBeUndefined()
    expect(idProblem("é".repeat(128))).toBe("has 256 bytes in UTF-8; at most 255 are allowed")
    expect(idProblem("\u{1f600}".repeat(64))).toBe("has 256 bytes in UTF-8; at most 255 are allowed")
  })

  it.each([undefined, null, 7, true, {}, [], Symbol("x"), new String("a")])("%s is none", (value) => {
    expect(idProblem(value)).toBe("must be a string")
    expect(stateProblem(value)).toBe("must be a string")
  })

  it("a prefix may be empty, an id may not", () => {
    expect(prefixProblem("")).toBeUndefined()
    expect(idProblem("")).toBe("is empty; it takes 1 to 255 bytes")
    expect(prefixProblem("a..b")).toBeDefined()
    expect(prefixProblem(undefined)).toBe("must be a string")
  })
})

describe("states", () => {
  it("are valid exactly by the written rule (property)", () => {
    FC.assert(
      FC.property(anyText, (text) => {
        const state = text.slice(0, 80)
        const valid =
          wellFormed(state) &&
          Buffer.byteLength(state) >= 1 &&
          Buffer.byteLength(state) <= 64 &&
          ![...state].some((character) => isControl(character.codePointAt(0)!))
        expect(stateProblem(state) === undefined).toBe(valid)
      }),
      { numRuns: 2000, seed: 3 }
    )
    expect(stateProblem("a..b")).toBeUndefined()
  })
})

describe("versions", () => {
  it("are positive safe integers and nothing else (property)", () => {
    FC.assert(
      FC.property(FC.oneof(FC.maxSafeInteger(), FC.double(), FC.anything()), (value) => {
        expect(versionProblem(value) === undefined).toBe(
          typeof value === "number" && Number.isSafeInteger(value) && value > 0
        )
      }),
      { numRuns: 2000, seed: 4 }
    )
    expect(versionProblem(Number.MAX_SAFE_INTEGER)).toBeUndefined()
    expect(versionProblem(Number.MAX_SAFE_INTEGER + 1)).toBeDefined()
    expect(versionProblem(0)).toBeDefined()
    expect(versionProblem(5n)).toBeDefined()
  })

  const hash = FC.constantFrom(emptyContentHash, contentHashOf(bytes("a")), contentHashOf(bytes("b")))
  const head = FC.record({
    version: FC.integer({ min: 1, max: 4 }),
    contentHash: hash,
    deleted: FC.boolean()
  })

  it("are in the order of their numbers, and of one number only the same is a repeat (property)", () => {
    FC.assert(
      FC.property(head, head, head, (a, b, c) => {
        expect(Math.sign(compareVersions(a, b)) + 0).toBe(Math.sign(a.version - b.version) + 0)
        const same = a.version === b.version && a.contentHash === b.contentHash && a.deleted === b.deleted
        expect(sameHead(a, b)).toBe(same)
        expect(isAtLeast(a, b)).toBe(a.version > b.version || same)
        if (isAtLeast(a, b) && isAtLeast(b, c)) expect(isAtLeast(a, c)).toBe(true)
        if (isAtLeast(a, b) && isAtLeast(b, a)) expect(same).toBe(true)
      }),
      { numRuns: 2000, seed: 5 }
    )
  })

  it("a tombstone is not empty content of the same version", () => {
    const gone = tombstone("a", 5, 1)
    expect(isAtLeast(gone, { ...gone, deleted: false })).toBe(false)
    expect(gone).toMatchObject({
      deleted: true,
      contentHash: emptyContentHash,
      state: undefined,
      contentType: "binary"
    })
    expect(gone.content).toHaveLength(0)
  })
})

describe("contents", () => {
  it("hash to SHA-256 in lower-case hexadecimal (property)", () => {
    FC.assert(
      FC.property(FC.uint8Array({ maxLength: 200 }), (content) => {
        expect(contentHashOf(content)).toBe(createHash("sha256").update(content).digest("hex"))
      }),
      { numRuns: 200, seed: 6 }
    )
    expect(contentHashOf(bytes(""))).toBe(emptyContentHash)
  })

  it("any JSON value is detected, with or without white space around it (property)", () => {
    FC.assert(
      FC.property(FC.jsonValue(), FC.constantFrom("", " ", "\n\t\r "), (value, space) => {
        const content = bytes(space + JSON.stringify(value) + space)
        expect(detectContentType(content)).toBe("json")
        expect(JSON.stringify(jsonOf({ content } as never))).toBe(JSON.stringify(value))
      }),
      { numRuns: 500, seed: 7 }
    )
  })

  it("detection and check agree on any bytes (property)", () => {
    FC.assert(
      FC.property(
        FC.oneof(
          FC.uint8Array({ maxLength: 40 }),
          FC.string({ maxLength: 20 }).map(bytes),
          FC.jsonValue().map((value) => bytes(JSON.stringify(value).slice(0, -1)))
        ),
        (content) => {
          expect(detectContentType(content) === "json").toBe(isJson(content))
        }
      ),
      { numRuns: 3000, seed: 8 }
    )
  })

  it.each([
    ["nothing", bytes("")],
    ["white space", bytes("  ")],
    ["two texts", bytes("{} {}")],
    ["a trailing comma", bytes("[1,]")],
    ["NaN", bytes("NaN")],
    ["a byte order mark", new Uint8Array([0xef, 0xbb, 0xbf, 0x7b, 0x7d])],
    ["UTF-16", new Uint8Array([0x7b, 0x00, 0x7d, 0x00])],
    ["bad UTF-8 in a string", new Uint8Array([0x22, 0xff, 0x22])]
  ])("%s is binary", (_, content) => {
    expect(detectContentType(content)).toBe("binary")
    expect(isJson(content)).toBe(false)
  })

  it("above 1 MiB nobody looks, unless the caller says json", () => {
    const large = bytes(`"${"x".repeat(maxDetectedJsonBytes)}"`)
    expect(detectContentType(large)).toBe("binary")
    expect(isJson(large)).toBe(true)
    expect(detectContentType(large.subarray(0, 3))).toBe("binary")
    expect(detectContentType(bytes(`"${"x".repeat(maxDetectedJsonBytes - 2)}"`))).toBe("json")
  })

  it("text replaces what is no UTF-8, and keeps a byte order mark", () => {
    expect(textOf({ content: new Uint8Array([0x61, 0xff, 0x62]) } as never)).toBe("a\ufffdb")
    expect(textOf({ content: bytes("\ufeffa") } as never)).toBe("\ufeffa")
  })
})

describe("trace parents", () => {
  it("have the W3C form, in lower case", () => {
    const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    expect(traceparentProblem(good)).toBeUndefined()
    for (const bad of [good.toUpperCase(), `${good}-x`, good.slice(1), "", " ", `${good}\n`, null, 7]) {
      expect(traceparentProblem(bad)).toBeDefined()
    }
  })
})
