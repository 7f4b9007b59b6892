import { describe, expect, it } from "@effect/vitest"
import { FastCheck } from "effect"
import { isJson } from "../../../src/SyncItem.js"
import { JsonText } from "../../../src/shared/ndjson/JsonText.js"

/** The verdict, from pieces of this many bytes. */
const verdict = (bytes: Uint8Array, piece: number): boolean => {
  const text = JsonText.of(bytes)
  if (text === undefined) return false
  for (let at = 0; at < bytes.length; at += piece) {
    if (!text.check(at, Math.min(bytes.length, at + piece))) return false
  }
  return text.isWhole
}

const agrees = (bytes: Uint8Array, piece: number) => expect(verdict(bytes, piece)).toBe(isJson(bytes))

describe("JSON in pieces", () => {
  it("has the verdict of JSON.parse on every corner", () => {
    const texts = [
      ...[
        "",
        " ",
        "1",
        "-",
        "-0",
        "01",
        "-01",
        "0.",
        ".5",
        "1.5e",
        "1e+",
        "1E-07",
        "1.e5",
        "00",
        "+1",
        "0x1",
        "1 2"
      ],
      ...["true", "tru", "truee", "nul", "null ", "False", "NaN", "\t\r\n 7 \n", "\u00a07", "\ufeff7", "\v7"],
      ...[
        "{}",
        "{ }",
        "{,}",
        '{"a"}',
        '{"a":}',
        '{"a":1,}',
        '{"a":1 "b":2}',
        '{"a":1,"a":2}',
        "{1:2}",
        "{'a':1}"
      ],
      ...[
        "[]",
        "[ ]",
        "[,]",
        "[1,]",
        "[1 2]",
        "[1,[2,[3,{}]]]",
        "[",
        "]",
        "[}",
        '{"a":[}',
        "[]]",
        "[][]",
        "[1,,2]"
      ],
      ...[
        '""',
        '"',
        '"\\"',
        '"\\x"',
        '"\\u12"',
        '"\\u12G4"',
        '"\\ud800"',
        '"\\u00e9"',
        '"\\/\\b\\f\\n\\r\\t"'
      ],
      ...[
        '"\u007f\u2028"',
        '"\t"',
        '"a\nb"',
        '"\u0000"',
        '{"\\u0061":"é😀"}',
        '"a" "b"',
        '{"a":"b"}x',
        "//\n1"
      ],
      `${"[".repeat(5000)}${"]".repeat(5000)}`,
      `${"[".repeat(5000)}${"]".repeat(4999)}`
    ]
    for (const text of texts) for (const piece of [1, 2, 3, 7, 10_000]) agrees(Buffer.from(text), piece)
    agrees(new Uint8Array([0x22, 0xff, 0x22]), 2)
    agrees(new Uint8Array([0x22, 0xc3]), 1)
  })

  it("has it on JSON that was damaged anywhere", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.json(),
        FastCheck.nat(),
        FastCheck.constantFrom(...'{}[]",:\\0123456789eE+-.tfnu \n\u0000é'),
        FastCheck.constantFrom("insert", "replace", "cut", "none"),
        FastCheck.integer({ min: 1, max: 9 }),
        (json, where, character, how, piece) => {
          const at = where % (json.length + 1)
          const rest = how === "insert" ? json.slice(at) : json.slice(at + 1)
          const damaged =
            how === "none" ? json : how === "cut" ? json.slice(0, at) : json.slice(0, at) + character + rest
          agrees(Buffer.from(damaged), piece)
        }
      ),
      { numRuns: 3000 }
    )
  })
})
