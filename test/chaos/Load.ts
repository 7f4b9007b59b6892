/**
 * A process of clients that write, read, compare-and-set and list, and put down every call with its times:
 * `Load.ts '{"name","urls","out","seed","clients"}'`. SIGTERM lets the calls under way end.
 */
import { createWriteStream } from "node:fs"
import { Agent, request } from "node:http"
import { Chance } from "../process/durability/Chance.js"
import { callIn, groupSize, groups, idOf, now, shortLived, sleep } from "./Common.js"
import type { HistoryRecord, WriteRecord } from "./History.js"

export interface LoadOptions {
  /** Begins the names of its calls. */
  readonly name: string
  /** Where each node listens. */
  readonly urls: ReadonlyArray<string>
  readonly out: string
  readonly seed: number
  readonly clients: number
}

const options = JSON.parse(process.argv[2]!) as LoadOptions
const timeoutMs = 6_000
const out = createWriteStream(options.out, { flags: "a" })
const agent = new Agent({ keepAlive: true, maxSockets: options.clients * 2 })
let stopped = false

const put = (
  record: HistoryRecord | { readonly kind: "refused read"; readonly status: string; readonly end: number }
) => out.write(`${JSON.stringify(record)}\n`)

interface Reply {
  /** 0: none. */
  readonly status: number
  readonly version: number
  readonly level: string
  readonly body: string
  /** Nobody listened, so nothing was sent. */
  readonly nobody: boolean
  readonly start: number
  readonly end: number
}

type Headers = Readonly<Record<string, string>>

const call = (method: string, url: string, headers: Headers = {}, body?: string): Promise<Reply> =>
  new Promise((resolve) => {
    const start = now()
    let nobody = false
    const lost = (error: { readonly code?: string }) => {
      nobody = error.code === "ECONNREFUSED"
      resolve({
        status: 0,
        version: 0,
        level: "",
        body: String(error.code ?? "ended"),
        nobody,
        start,
        end: now()
      })
    }
    const sent = request(url, { agent, method, headers }, (response) => {
      let text = ""
      response.setEncoding("utf8").on("data", (data) => {
        text += String(data)
      })
      response.on("error", lost).on("aborted", () => lost({ code: "ECONNRESET" }))
      response.on("end", () => {
        clearTimeout(timer)
        const version = Number(String(response.headers.etag ?? "0").replaceAll('"', ""))
        const level = String(response.headers["x-sync-durability"] ?? "")
        resolve({ status: response.statusCode!, version, level, body: text, nobody, start, end: now() })
      })
    })
    const timer = setTimeout(() => sent.destroy(Object.assign(new Error(), { code: "ETIMEDOUT" })), timeoutMs)
    sent.on("error", (error: { readonly code?: string }) => {
      clearTimeout(timer)
      lost(error)
    })
    sent.end(body)
  })

/** Errors which promise that nothing was written. */
const refusals = new Set(
  "GateClosed ReadOnly Backpressure ClockOutOfRange LogFull Overloaded TierUnavailable".split(" ")
)

const errorIn = (text: string): string => /"error":"(\w+)"/.exec(text)?.[1] ?? ""

const outcomeOf = (status: number, error: string): WriteRecord["outcome"] =>
  (status >= 400 && status < 500 && status !== 422) || refusals.has(error) ? "refused" : "unknown"

/** Puts down a write; the reply is that of its request, or of its line. */
const noteWrite = (
  write: Pick<WriteRecord, "call" | "id" | "node" | "start" | "end"> & Partial<WriteRecord>,
  reply: { readonly ok: boolean; readonly status: number; readonly text: string; readonly version: number }
) => {
  const base = { kind: "write", level: "wal", ...write } as const
  if (reply.ok) {
    put({ ...base, outcome: "acknowledged", version: reply.version })
    return
  }
  const error = errorIn(reply.text)
  const status = reply.status === 0 ? reply.text : `${reply.status} ${error}`
  put({ ...base, outcome: outcomeOf(reply.status, error), status })
}

const contentOf = (name: string, chance: Chance): string => {
  const length = chance.next() < 0.01 ? chance.below(100_000) : chance.below(400)
  return JSON.stringify({ call: name, filling: "x".repeat(length) })
}

const client = async (number: number, chance: Chance): Promise<void> => {
  const node = number % options.urls.length
  const url = options.urls[node]!
  let calls = 0
  const next = () => `${options.name}.${number}.${calls++}`
  const group = () => (chance.next() < 0.3 ? 0 : chance.below(groups))
  const someId = () => idOf(group(), chance.below(groupSize))
  const path = (id: string) => `${url}/items/${id}`
  const json = { "content-type": "application/json" }

  const write = async (id: string, query: string, headers: Headers, rest: Partial<WriteRecord> = {}) => {
    const name = next()
    const method = rest.deletes === true ? "DELETE" : "PUT"
    const sent = method === "PUT" ? { ...json, ...headers } : headers
    const reply = await call(
      method,
      path(id) + query,
      sent,
      method === "PUT" ? contentOf(name, chance) : undefined
    )
    if (reply.nobody) return reply
    const { end, start, status } = reply
    const level = (reply.level || rest.level) ?? "wal"
    noteWrite(
      { call: name, id, node, start, end, ...rest, level: level as WriteRecord["level"] },
      { ok: status >= 200 && status < 300, status, text: reply.body, version: reply.version }
    )
    return reply
  }

  const read = async (id: string, query = ""): Promise<Reply & { readonly known: boolean }> => {
    const reply = await call("GET", path(id) + query)
    const { end, start, status } = reply
    if (status !== 200 && status !== 404) {
      if (!reply.nobody)
        put({ kind: "refused read", status: `${status} ${errorIn(reply.body) || reply.body}`, end })
      return { ...reply, known: false }
    }
    const name = status === 200 ? callIn(reply.body) : undefined
    const version = status === 200 ? reply.version : 0
    put({ kind: "read", id, node, start, end, version, ...(name === undefined ? {} : { call: name }) })
    return { ...reply, version, known: true }
  }

  const compareAndSet = async (id: string) => {
    const before = await read(id)
    if (!before.known) return before
    const headers: Headers =
      before.version === 0 ? { "if-none-match": "*" } : { "if-match": `"${before.version}"` }
    const reply = await write(id, "", headers, { over: before.version })
    if (reply.status === 412) {
      const actual = Number(/"actual":(\d+)/.exec(reply.body)?.[1])
      put({
        kind: "read",
        id,
        node,
        start: reply.start,
        end: reply.end,
        version: actual,
        from: "a refused comparison"
      })
    }
    return reply
  }

  const batch = async () => {
    const lines = Array.from({ length: chance.between(5, 40) }, () => {
      const deletes = chance.next() < 0.15
      return { id: someId(), name: next(), deletes }
    })
    const body = lines.map(({ deletes, id, name }) =>
      deletes ? `{"id":"${id}","delete":true}\n` : `{"id":"${id}","content":${contentOf(name, chance)}}\n`
    )
    const reply = await call(
      "POST",
      `${url}/items`,
      { "content-type": "application/x-ndjson" },
      body.join("")
    )
    if (reply.nobody) return reply
    const answered = new Map<
      number,
      { readonly status: string; readonly version: number; readonly text: string }
    >()
    for (const text of reply.status === 200 ? reply.body.split("\n").slice(0, -1) : []) {
      const line = JSON.parse(text) as {
        readonly line?: number
        readonly status: string
        readonly version: number
      }
      if (line.line !== undefined) answered.set(line.line - 1, { ...line, text })
    }
    for (const [n, { deletes, id, name }] of lines.entries()) {
      const line = answered.get(n)
      const { end, start } = reply
      // Of one id twice in a batch the later line is the newer version: they are not one call each.
      noteWrite(
        { call: name, id, node, start, end, ...(deletes ? { deletes } : {}) },
        line === undefined
          ? {
              ok: false,
              status: reply.status === 200 ? 0 : reply.status,
              text: reply.body.slice(0, 500),
              version: 0
            }
          : { ok: line.status === "acknowledged", status: 200, text: line.text, version: line.version }
      )
    }
    return reply
  }

  const list = async () => {
    const n = group()
    const reply = await call("GET", `${url}/items?prefix=g${n}&limit=1000`)
    const lines = reply.status === 200 ? reply.body.split("\n") : []
    if (!lines.some((line) => line.startsWith('{"next_after":null'))) {
      if (!reply.nobody)
        put({ kind: "refused read", status: `${reply.status} ${errorIn(reply.body)}`, end: reply.end })
      return reply
    }
    const found = new Map<string, { readonly version: number; readonly call: string | undefined }>()
    for (const line of lines.slice(0, -2)) {
      const { id, version } = JSON.parse(line) as { readonly id: string; readonly version: number }
      found.set(id, { version, call: callIn(line) })
    }
    for (let m = 0; m < groupSize; m++) {
      const id = idOf(n, m)
      const { call: name, version } = found.get(id) ?? { call: undefined, version: 0 }
      const { end, start } = reply
      put({
        kind: "read",
        id,
        node,
        start,
        end,
        version,
        ...(name === undefined ? {} : { call: name }),
        from: "a list"
      })
    }
    return reply
  }

  const one = (): Promise<Reply> => {
    const kind = chance.next()
    if (kind < 0.38) return read(someId())
    if (kind < 0.42) return read(someId(), "?verified=true")
    if (kind < 0.7) return write(someId(), "", {})
    if (kind < 0.78) return write(someId(), "", {}, { deletes: true })
    if (kind < 0.86) return compareAndSet(someId())
    if (kind < 0.9) return batch()
    if (kind < 0.94) return list()
    if (kind < 0.95) return write(someId(), "?durability=archive", {}, { level: "archive" })
    const early = shortLived(chance.below(groupSize))
    return kind < 0.98 ? write(early, "?durability=memory", {}, { level: "memory" }) : read(early)
  }

  while (!stopped) {
    const { status } = await one()
    // Who is refused comes again later.
    await sleep(status === 0 || status === 429 || status === 503 ? 60 : chance.below(30))
  }
}

process.once("SIGTERM", () => {
  stopped = true
})
const chance = new Chance(options.seed)
await Promise.all(Array.from({ length: options.clients }, (_, number) => client(number, chance.fork())))
agent.destroy()
out.end(() => process.exit(0))
