import { FastCheck } from "effect"
import { describe, expect, it } from "vitest"
import { LineSplitter, type SplitLine } from "../../../src/shared/ndjson/LineSplitter.js"

const mark = Buffer.from([0xef, 0xbb, 0xbf])

const split = (input: Uint8Array, cuts: ReadonlyArray<number>, maxLineBytes: number): Array<SplitLine> => {
  const splitter = new LineSplitter(maxLineBytes)
  const places = [...new Set(cuts.map((cut) => cut % (input.length + 1)))].sort((a, b) => a - b)
  const lines: Array<SplitLine> = []
  let start = 0
  for (const place of [...places, input.length]) {
    lines.push(...splitter.push(input.subarray(start, place)))
    start = place
  }
  return [...lines, ...splitter.end()]
}

/** The definition, over the whole input at once. */
const model = (input: Buffer, maxLineBytes: number): Array<unknown> => {
  const lines: Array<Buffer> = []
  let rest = input
  for (let at = rest.indexOf(0x0a); at !== -1; at = rest.indexOf(0x0a)) {
    lines.push(rest.subarray(0, at))
    rest = rest.subarray(at + 1)
  }
  if (rest.length > 0) lines.push(rest)
  return lines.map((raw, index) => {
    let line = raw
    if (index === 0 && line.subarray(0, 3).equals(mark)) line = line.subarray(3)
    if (line[line.length - 1] === 0x0d) line = line.subarray(0, -1)
    return line.length > maxLineBytes
      ? { number: index + 1, length: line.length }
      : { number: index + 1, text: line.toString("latin1") }
  })
}

const shown = (line: SplitLine) =>
  line._tag === "Line"
    ? { number: line.number, text: Buffer.from(line.bytes).toString("latin1") }
    : { number: line.number, length: line.length }

// Bytes that matter here, often; any other byte, sometimes.
const byte = FastCheck.oneof(
  { weight: 6, arbitrary: FastCheck.constantFrom(0x0a, 0x0d, 0x61, 0x20, 0xef, 0xbb, 0xbf) },
  { weight: 1, arbitrary: FastCheck.integer({ min: 0, max: 255 }) }
)
const input = FastCheck.tuple(FastCheck.boolean(), FastCheck.array(byte, { maxLength: 80 })).map(
  ([marked, bytes]) => Buffer.concat([marked ? mark : Buffer.alloc(0), Buffer.from(bytes)])
)

describe("LineSplitter", () => {
  it("cuts the same lines wherever the chunks are cut", () => {
    FastCheck.assert(
      FastCheck.property(
        input,
        FastCheck.array(FastCheck.nat(200)),
        FastCheck.integer({ min: 0, max: 20 }),
        (bytes, cuts, max) => {
          expect(split(bytes, cuts, max).map(shown)).toEqual(model(bytes, max))
        }
      ),
      { numRuns: 2_000, seed: 7420 }
    )
  })

  it("takes LF, CRLF, empty lines, a byte order mark and a last line without ending", () => {
    const lines = split(Buffer.from("\ufeffa\r\n\n b\r\nc"), [1, 2, 5], 10)
    expect(lines.map(shown)).toEqual([
      { number: 1, text: "a" },
      { number: 2, text: "" },
      { number: 3, text: " b" },
      { number: 4, text: "c" }
    ])
  })

  it("does not keep the bytes of a line that is too long", () => {
    const splitter = new LineSplitter(100)
    const chunk = Buffer.alloc(64, 0x61)
    for (let index = 0; index < 10_000; index++) expect(splitter.push(chunk)).toEqual([])
    const kept = (splitter as unknown as { readonly parts: ReadonlyArray<Uint8Array> }).parts
    expect(kept).toEqual([])
    expect(splitter.push(Buffer.from("\nb\n")).map(shown)).toEqual([
      { number: 1, length: 640_000 },
      { number: 2, text: "b" }
    ])
  })
})
