import { Either, FastCheck } from "effect"
import { describe, expect, it } from "vitest"
import { parseIngestLine } from "../../../src/cli/ingest/IngestLine.js"
import { ingestLine } from "../../../src/cli/io/Render.js"
import { contentHashOf } from "../../../src/SyncItem.js"
import { isBlank } from "../../../src/shared/ndjson/ObjectLine.js"

const parse = (line: string | Uint8Array) =>
  parseIngestLine(typeof line === "string" ? Buffer.from(line) : line)

const contentOf = (line: string): string =>
  Buffer.from(Either.getOrThrow(parse(line)).item.content as Uint8Array).toString("utf8")

const problemOf = (line: string | Uint8Array): string | undefined =>
  Either.getOrUndefined(Either.flip(parse(line)))

describe("parseIngestLine", () => {
  it("takes content over byte for byte", () => {
    expect(contentOf('{"id":"a","content":{"b": 1.0, "2":1, "1":12345678901234567890}}')).toBe(
      '{"b": 1.0, "2":1, "1":12345678901234567890}'
    )
    expect(contentOf('  { "content" :  "\\u00e9\\"}" , "id":"a" } ')).toBe('"\\u00e9\\"}"')
    expect(contentOf('{"id":"a","content":null}')).toBe("null")
    expect(contentOf('{"id":"a","cont\\u0065nt":[1,{"content":2}]}')).toBe('[1,{"content":2}]')
    expect(contentOf('{"id":"a","content":-0}')).toBe("-0")
  })

  it("finds the content wherever it stands, whatever surrounds it", () => {
    const space = FastCheck.constantFrom("", " ", "\t", "  ")
    FastCheck.assert(
      FastCheck.property(
        FastCheck.jsonValue(),
        FastCheck.jsonValue(),
        space,
        FastCheck.boolean(),
        (value, pad, gap, first) => {
          const content = JSON.stringify(value)
          const state = JSON.stringify(
            JSON.stringify(pad)
              .replace(/[\u0000-\u001f\u007f-\u009f]/g, "")
              .slice(0, 12) || "s"
          )
          const members = [`"content"${gap}:${gap}${content}`, `"id":${gap}"x.y"`, `${gap}"state":${state}`]
          expect(contentOf(`{${gap}${(first ? members : members.reverse()).join(`${gap},`)}${gap}}`)).toBe(
            content
          )
        }
      ),
      { numRuns: 500, seed: 7420 }
    )
  })

  it("copies the content out of the chunk", () => {
    const chunk = Buffer.from('{"id":"a","content":"before"}')
    const { item } = Either.getOrThrow(parse(chunk))
    chunk.fill(0x20)
    expect(Buffer.from(item.content as Uint8Array).toString()).toBe('"before"')
  })

  it("takes the other fields", () => {
    expect(
      Either.getOrThrow(
        parse('{"id":"a.b","contentBase64":"AAEC","version":7,"state":"new","ttlSeconds":1.5}')
      )
    ).toEqual({
      item: {
        id: "a.b",
        content: new Uint8Array([0, 1, 2]),
        contentType: undefined,
        version: 7,
        state: "new"
      },
      ttlSeconds: 1.5
    })
    expect(Either.getOrThrow(parse('{"id":"a","contentBase64":""}')).item.content).toEqual(new Uint8Array(0))
  })

  it.each([
    ["not json", /^is not valid JSON/],
    ["[1]", /^is not a JSON object/],
    ["null", /^is not a JSON object/],
    ['{"content":1}', /^has no "id"/],
    ['{"id":7,"content":1}', /^"id" must be a string/],
    ['{"id":"a..b","content":1}', /^"id" has an empty segment/],
    ['{"id":"a"}', /^has neither/],
    ['{"id":"a","content":1,"contentBase64":""}', /^has both/],
    ['{"id":"a","content":1,"contnet":2}', /^has the unknown field "contnet"/],
    ['{"id":"a","content":1,"__proto__":2}', /^has the unknown field "__proto__"/],
    ['{"id":"a","content":1,"content":2}', /^has the field "content" twice/],
    ['{"id":"a","contentBase64":"A=BC"}', /base64/],
    ['{"id":"a","contentBase64":"AAE"}', /base64/],
    ['{"id":"a","content":1,"version":0}', /^"version" must be a whole number/],
    ['{"id":"a","content":1,"version":"7"}', /^"version" must be a whole number/],
    ['{"id":"a","content":1,"state":""}', /^"state" is empty/],
    ['{"id":"a","content":1,"ttlSeconds":0}', /^"ttlSeconds" must be a number above 0/],
    ['{"id":"a","content":1,"ttlSeconds":"5"}', /^"ttlSeconds" must be a number above 0/]
  ])("refuses %s", (line, problem) => {
    expect(problemOf(line)).toMatch(problem)
  })

  it("refuses bytes that are not UTF-8, also inside strings", () => {
    expect(problemOf(Buffer.from('{"id":"a","content":"\xff"}', "latin1"))).toBe("is not valid UTF-8")
  })

  it("never throws", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.string({ unit: "binary" }), FastCheck.uint8Array(), (text, bytes) => {
        parse(text)
        parse(bytes)
      }),
      { numRuns: 1_000, seed: 7420 }
    )
  })

  it("reads back what scan --json prints, byte for byte", () => {
    const json = FastCheck.tuple(FastCheck.jsonValue(), FastCheck.constantFrom(undefined, 1)).map(
      ([value, indent]) => ({
        contentType: "json" as const,
        content: new Uint8Array(Buffer.from(JSON.stringify(value, null, indent)))
      })
    )
    const binary = FastCheck.uint8Array().map((content) => ({
      contentType: "binary" as const,
      content: new Uint8Array(content)
    }))
    FastCheck.assert(
      FastCheck.property(
        FastCheck.oneof(json, binary),
        FastCheck.option(FastCheck.constant("new")),
        (body, state) => {
          const item = {
            id: "a.b",
            version: 42,
            updatedAt: 1,
            contentHash: contentHashOf(body.content),
            state: state ?? undefined,
            traceparent: undefined,
            ...body
          }
          const line = ingestLine(item)
          expect(line).not.toMatch(/[\r\n]/)
          const read = Either.getOrThrow(parse(line)).item
          expect(read).toMatchObject({ id: "a.b", version: 42, state: item.state })
          expect(read.content).toEqual(body.content)
        }
      ),
      { numRuns: 500, seed: 7420 }
    )
  })

  it("knows blank lines", () => {
    expect(["", " \t", "\r", "x"].map((line) => isBlank(Buffer.from(line)))).toEqual([
      true,
      true,
      true,
      false
    ])
  })
})
