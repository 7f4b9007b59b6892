/** Requests as nobody sane sends them: drawn from the OpenAPI document, then bent. */
import type { Chance } from "../../simulation/Chance.js"

export interface OpenApiDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
}

interface Operation {
  readonly responses: Readonly<Record<string, unknown>>
  readonly parameters?: ReadonlyArray<{ readonly in: string; readonly name: string }>
  readonly requestBody?: { readonly content: Readonly<Record<string, unknown>> }
}

export interface HostileRequest {
  readonly method: string
  readonly target: string
  readonly headers: ReadonlyArray<readonly [string, string]>
  readonly body: Buffer | undefined
  /** What the document says of this operation; undefined where there is none. */
  readonly documented: ReadonlySet<number> | undefined
}

/** These change what every later request gets. */
const leftOut = new Set(["post /admin/drain", "post /admin/shutdown"])

const words: ReadonlyArray<string> = [
  "",
  "0",
  "1",
  "-1",
  "1e3",
  "9007199254740993",
  "99999999999999999999",
  "0x10",
  "NaN",
  "true",
  "TRUE",
  "null",
  "a.b",
  "a..b",
  ".",
  "wal",
  "archive",
  "memory",
  "writes",
  "rejected",
  "*",
  '"1"',
  'W/"x"',
  "%",
  "%00",
  "%ff",
  "%F0%9F%98%80",
  "%ED%A0%80",
  "..%2f..%2fetc",
  "a%2Fb",
  "x".repeat(300),
  "é%20z",
  "🙂",
  "__proto__",
  "constructor",
  "' OR 1=1 --",
  "\u0000",
  "a,b"
]

const texts = (chance: Chance): string =>
  chance.bool(0.7)
    ? chance.pick(words)
    : String.fromCodePoint(
        ...Array.from({ length: chance.between(1, 12) }, () =>
          chance.pick([32, 37, 46, 47, 92, 127, 233, 0x10ffff, 97])
        )
      )

const escaped = (chance: Chance, text: string): string =>
  // Half of the time as a client would, half of the time raw; a raw target has to stay one line of ASCII.
  chance.bool(0.5)
    ? encodeURIComponent(text.toWellFormed())
    : text.replace(/[^!-~]/g, (char) => encodeURIComponent(char.toWellFormed()))

const deep = (chance: Chance): string => {
  const depth = chance.pick([10, 1000, 100_000])
  return "[".repeat(depth) + "]".repeat(depth)
}

const jsons = (chance: Chance): string =>
  chance.pick([
    () => "{}",
    () => "[]",
    () => "null",
    () => '"text"',
    () => `{"prefix":${JSON.stringify(texts(chance))}}`,
    () => `{"sequences":[${chance.pick(["-1", "1.5", '"a"', "1", "9e99"])}]}`,
    () => `{"id":${JSON.stringify(texts(chance))},"content":${chance.pick(["1", "{}", '"x"', "tru", ""])}}`,
    () => `{"id":"a","id":"b","content":1}`,
    () => `{"__proto__":{"x":1},"id":"a","content":1}`,
    () =>
      `{"id":"h.${chance.int(50)}","content":{"n":${chance.int(9)}},"version":${chance.pick(["-1", "1", "1e400", '"1"'])}}`,
    () => deep(chance),
    () => '{"a":',
    () => "\ufeff{}"
  ])()

const bodies = (chance: Chance): Buffer | undefined =>
  chance.pick<() => Buffer | undefined>([
    () => undefined,
    () => Buffer.alloc(0),
    () => Buffer.from(jsons(chance)),
    () => Buffer.from(Array.from({ length: chance.between(1, 6) }, () => jsons(chance)).join("\n")),
    () => Buffer.from(Array.from({ length: chance.between(1, 200) }, () => chance.int(256))),
    () => Buffer.alloc(chance.pick([1000, 70_000, 1_200_000]), chance.pick(["x", "{", "\n", "\0"]))
  ])()

const types = [
  "application/json",
  "application/x-ndjson",
  "text/plain",
  "",
  "application/json; charset=latin1",
  "a/b/c",
  "*/*"
]

const headerNames = [
  "if-match",
  "if-none-match",
  "x-sync-version",
  "x-sync-state",
  "traceparent",
  "authorization",
  "origin",
  "range",
  "expect",
  "accept",
  "content-encoding"
]

export const hostileRequest = (document: OpenApiDocument, chance: Chance): HostileRequest => {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation }))
  )
  const known = chance.pick(operations.filter(({ method, path }) => !leftOut.has(`${method} ${path}`)))
  const isKnown = chance.bool(0.92)
  const method = isKnown
    ? known.method.toUpperCase()
    : chance.pick(["PATCH", "OPTIONS", "TRACE", "DELETE", "PUT", "FOO"])
  // Only the switch that would refuse all later writes is never served a valid body.
  const bodyless = known.path === "/admin/readonly"
  const path = chance.bool(0.97)
    ? known.path.replace("{id}", escaped(chance, texts(chance)) || "x")
    : `/${escaped(chance, texts(chance))}`
  const query = [
    ...(known.operation.parameters ?? [])
      .filter((one) => one.in === "query" && chance.bool(0.5))
      .map(({ name }) => name),
    ...(chance.bool(0.1) ? [texts(chance)] : [])
  ].map((name) => `${escaped(chance, name)}=${escaped(chance, texts(chance))}`)
  const headers: Array<readonly [string, string]> = []
  if (chance.bool(0.7)) headers.push(["content-type", chance.pick(types)])
  while (chance.bool(0.3)) {
    headers.push([chance.pick(headerNames), texts(chance).replace(/[^ -~]/g, "")])
  }
  const served = path.startsWith(known.path.split("{", 1)[0]!)
    ? document.paths[known.path]?.[method.toLowerCase()]
    : undefined
  const carries = known.operation.requestBody !== undefined || chance.bool(0.1)
  return {
    method,
    target: path + (query.length === 0 ? "" : `?${query.join("&")}`),
    headers,
    body: carries && !bodyless ? bodies(chance) : undefined,
    documented: served === undefined ? undefined : new Set(Object.keys(served.responses).map(Number))
  }
}

/** As it goes over the wire. */
export const bytesOf = ({ body, headers, method, target }: HostileRequest, host: string): Buffer =>
  Buffer.concat([
    Buffer.from(
      [
        `${method} ${target} HTTP/1.1`,
        `host: ${host}`,
        ...headers.map(([name, value]) => `${name}: ${value}`),
        ...(body === undefined ? [] : [`content-length: ${body.length}`]),
        "connection: close",
        "\r\n"
      ].join("\r\n"),
      "latin1"
    ),
    body ?? Buffer.alloc(0)
  ])
