/** What a client sees on the wire: raw bytes against the real server. */
import * as net from "node:net"
import { Effect } from "effect"
import { afterEach, describe, expect, it } from "vitest"
import { listen, makeServer } from "../../src/http/node/NodeServer.js"
import { closeAll, eventually, type Harness, parse, start } from "./Harness.js"

afterEach(closeAll)

interface WireAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Takes a stream of answers apart by their Content-Length or chunks; interim answers count too. */
const answersOf = (text: string): ReadonlyArray<WireAnswer> => {
  const answers: Array<WireAnswer> = []
  let rest = text
  while (rest !== "") {
    const end = rest.indexOf("\r\n\r\n")
    const [first = "", ...lines] = rest.slice(0, end).split("\r\n")
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(first)?.[1])
    if (end === -1 || Number.isNaN(status))
      throw new Error(`no answer: ${JSON.stringify(rest.slice(0, 200))}`)
    const headers = Object.fromEntries(
      lines.map((line) => [
        line.slice(0, line.indexOf(":")).toLowerCase(),
        line.slice(line.indexOf(":") + 1).trim()
      ])
    )
    rest = rest.slice(end + 4)
    let body = ""
    if (headers["transfer-encoding"] === "chunked") {
      for (;;) {
        const size = Number.parseInt(rest, 16)
        const from = rest.indexOf("\r\n") + 2
        body += rest.slice(from, from + size)
        rest = rest.slice(from + size + 2)
        if (size === 0) break
      }
    } else {
      const length = Number(headers["content-length"] ?? 0)
      body = rest.slice(0, length)
      rest = rest.slice(length)
    }
    answers.push({ status, headers, body })
  }
  return answers
}

const errorOf = ({ body }: WireAnswer): unknown =>
  (parse(body) as { readonly error?: unknown } | undefined)?.error

/** Sends bytes, and what comes back until the server ends. */
const wire = async (server: Harness, bytes: string | Uint8Array): Promise<ReadonlyArray<WireAnswer>> =>
  answersOf(await server.raw(bytes))

const host = "Host: localhost\r\n"
const close = "Connection: close\r\n"

const put = (id: string, content: string, more = "") =>
  `PUT /items/${id} HTTP/1.1\r\n${host}${more}Content-Length: ${Buffer.byteLength(content)}\r\n\r\n${content}`
const get = (path: string, more = "") => `GET ${path} HTTP/1.1\r\n${host}${more}\r\n`

describe("a request with very many headers", () => {
  it("is held to all of them, however far behind its conditions stand", async () => {
    const server = await start()
    const many = "a:\r\n".repeat(2_100)
    await server.request("/items/a", { method: "PUT", body: "1" })
    const seen = await wire(server, put("a", "2", `${many}${close}If-Match: "999"\r\n`))
    expect(seen.map(({ status }) => status)).toEqual([412])
    expect((await server.request("/items/a")).body.toString()).toBe("1")
  })
})

describe("pipelined requests", () => {
  it("take effect in the order of their answers", async () => {
    const server = await start()
    const latch = Effect.unsafeMakeLatch(false)
    let first = true
    // Only the first write waits: without an order the later ones overtake it.
    server.fake.beforeWrite = Effect.suspend(() => {
      if (!first) return Effect.void
      first = false
      return latch.await
    })
    const answers = wire(
      server,
      put("a", "1") +
        get("/items/a") +
        put("a", "2") +
        get("/items/a") +
        put("a", "3") +
        get("/items/a", close)
    )
    await eventually(() => server.fake.calls.length === 1)
    await Effect.runPromise(latch.open)
    expect(
      (await answers).map(({ status, body }) => [status, status === 200 && body.length === 1 ? body : ""])
    ).toEqual([
      [201, ""],
      [200, "1"],
      [200, ""],
      [200, "2"],
      [200, ""],
      [200, "3"]
    ])
  })

  it("are begun only when the one before is answered, and not at all when the client has gone", async () => {
    const server = await start()
    const latch = Effect.unsafeMakeLatch(false)
    server.fake.beforeWrite = latch.await
    const socket = await server.connect()
    socket.write(put("a", "1") + put("b", "2"))
    await eventually(() => server.fake.calls.length === 1)
    socket.resetAndDestroy()
    await Effect.runPromise(latch.open)
    await eventually(() => server.fake.rows.has("a"))
    expect((await server.request("/items/b")).status).toBe(404)
    expect(server.fake.calls.filter(({ name }) => name === "submit")).toHaveLength(1)
  })

  it("in any number are answered in order, and no more are held than came with one read", async () => {
    let begun = 0
    let answered = 0
    let parsed = 0
    let held = 0
    let release = () => {}
    const server = makeServer(
      { headersTimeout: 30_000, requestTimeout: 30_000, keepAliveTimeout: 30_000, maxConnections: 10 },
      (request, response) => {
        const turn = begun++
        request.resume().once("end", () => {
          const answer = () => {
            answered += 1
            response.end(`<${turn}>`)
          }
          if (turn === 0) release = answer
          else setImmediate(answer)
        })
      }
    ).on("request", () => {
      parsed += 1
      held = Math.max(held, parsed - answered)
    })
    await Effect.runPromise(listen(server, { host: "127.0.0.1", port: 0 }))
    const socket = net.connect((server.address() as net.AddressInfo).port, "127.0.0.1")
    let text = ""
    socket.on("data", (part) => {
      text += part.toString("latin1")
    })
    const count = 20_000
    socket.write(put("a", "1").repeat(count - 1) + put("a", "1", close))
    await eventually(() => parsed > 1)
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(begun).toBe(1)
    release()
    await new Promise((resolve) => socket.on("close", resolve))
    server.close()
    expect([...text.matchAll(/<(\d+)>/g)].map(([, turn]) => Number(turn))).toEqual(
      Array.from({ length: count }, (_, index) => index)
    )
    // A read brings 64 KiB at most, and a request has more than 60 bytes.
    expect(held).toBeLessThan(2_200)
  })

  it("before a broken one are answered first", async () => {
    const server = await start()
    const latch = Effect.unsafeMakeLatch(false)
    server.fake.beforeWrite = latch.await
    const answers = wire(server, `${put("a", "1") + get("/items/a")}nonsense\r\n\r\n`)
    await eventually(() => server.fake.calls.length === 1)
    await Effect.runPromise(latch.open)
    const seen = await answers
    expect(seen.map(({ status }) => status)).toEqual([201, 200, 400])
    expect(errorOf(seen[2]!)).toBe("MalformedRequest")
  })

  it("behind one whose body breaks are not begun", async () => {
    const server = await start()
    const broken = `PUT /items/b HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n`
    const seen = await wire(server, put("a", "1") + broken + put("c", "1"))
    expect(seen.map(({ status }) => status)).toEqual([201, 400])
    expect(errorOf(seen[1]!)).toBe("MalformedRequest")
    expect([...server.fake.rows.keys()]).toEqual(["a"])
  })
})

describe("every error is the documented JSON", () => {
  const cases: ReadonlyArray<readonly [name: string, bytes: string, status: number, error: string]> = [
    ["no Host", "GET /health/live HTTP/1.1\r\n\r\n", 400, "MalformedRequest"],
    ["two Hosts", `GET /health/live HTTP/1.1\r\n${host}Host: other\r\n\r\n`, 400, "MalformedRequest"],
    ["an expectation", get("/health/live", "Expect: miracles\r\n"), 417, "ExpectationFailed"],
    [
      "more than one expectation",
      put("a", "x", "Expect: 100-continue, miracles\r\n"),
      417,
      "ExpectationFailed"
    ],
    ["a foreign method", `BREW /items/a HTTP/1.1\r\n${host}\r\n`, 400, "MalformedRequest"],
    ["CONNECT", `CONNECT localhost:80 HTTP/1.1\r\n${host}\r\n`, 405, "MethodNotAllowed"],
    ["HTTP/2 without asking", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "MalformedRequest"],
    [
      "gzip before chunked",
      `PUT /items/a HTTP/1.1\r\n${host}Transfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n`,
      501,
      "UnsupportedTransferCoding"
    ],
    [
      "gzip and chunked in two headers",
      `PUT /items/a HTTP/1.1\r\n${host}Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n`,
      501,
      "UnsupportedTransferCoding"
    ],
    [
      "chunked twice",
      `PUT /items/a HTTP/1.1\r\n${host}Transfer-Encoding: chunked, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n`,
      400,
      "MalformedRequest"
    ],
    [
      "identity",
      `PUT /items/a HTTP/1.1\r\n${host}Transfer-Encoding: identity\r\n\r\n`,
      501,
      "UnsupportedTransferCoding"
    ],
    [
      "chunked, then gzip",
      `PUT /items/a HTTP/1.1\r\n${host}Transfer-Encoding: chunked, gzip\r\n\r\n1\r\nx\r\n0\r\n\r\n`,
      400,
      "MalformedRequest"
    ],
    [
      "chunks in HTTP/1.0",
      `PUT /items/a HTTP/1.0\r\n${host}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n`,
      400,
      "MalformedRequest"
    ],
    ["bytes outside ASCII in the target", get("/items/\u00e9"), 400, "MalformedRequest"],
    ["a space in the target", get("/items/a b"), 400, "MalformedRequest"],
    ["a state that is not encoded", put("a", "x", "X-Sync-State: \u00e9\r\n"), 400, "InvalidRequest"]
  ]
  for (const [name, bytes, status, error] of cases) {
    it(`${name}: ${status} ${error}`, async () => {
      const server = await start()
      const socket = await server.connect()
      let text = ""
      socket.on("data", (part) => {
        text += part.toString("utf8")
      })
      // As a client that is done with asking; it takes the answer and goes.
      socket.end(Buffer.from(bytes, "utf8"))
      await new Promise((resolve) => socket.on("close", resolve))
      const [answer, ...more] = answersOf(text)
      expect(more).toEqual([])
      expect(answer?.status).toBe(status)
      expect(answer?.headers["content-type"]).toBe("application/json")
      expect(parse(answer!.body)).toMatchObject({ error, message: expect.any(String) })
      expect(server.fake.calls).toEqual([])
      expect((await server.request("/health/live")).status).toBe(200)
    })
  }

  const routes: ReadonlyArray<readonly [path: string, methods: ReadonlyArray<string>]> = [
    ["/health/live", ["GET"]],
    ["/health/ready", ["GET"]],
    ["/health/startup", ["GET"]],
    ["/admin/status", ["GET"]],
    ["/admin/drain", ["POST"]],
    ["/admin/shutdown", ["POST"]],
    ["/admin/flush", ["POST"]],
    ["/admin/readonly", ["POST"]],
    ["/admin/verify", ["POST"]],
    ["/admin/repair", ["POST"]],
    ["/admin/dead-letters", ["GET"]],
    ["/admin/dead-letters/retry", ["POST"]],
    ["/admin/dead-letters/drop", ["POST"]],
    ["/items", ["GET", "POST"]],
    ["/items/a", ["GET", "PUT", "DELETE"]],
    ["/merkle/root", ["GET"]],
    ["/merkle/node", ["GET"]],
    ["/merkle/branches", ["GET"]],
    ["/merkle/leaves", ["GET"]],
    ["/merkle/sum", ["GET"]],
    ["/merkle/parts", ["GET"]],
    ["/metrics", ["GET"]],
    ["/openapi.json", ["GET"]],
    ["/docs", ["GET"]]
  ]

  it("an unknown query parameter is refused on every route, before anything happens", async () => {
    const server = await start()
    for (const [path, methods] of routes) {
      for (const method of [...methods, ...(methods.includes("GET") ? ["HEAD"] : [])]) {
        for (const query of ["?x=1", "?x", "?limit=1&x=1", "?%78=1"]) {
          const answer = await server.request(path + query, { method })
          expect([method, path, answer.status]).toEqual([method, path, 400])
          if (method !== "HEAD") expect(answer.json).toMatchObject({ error: "InvalidRequest" })
        }
      }
    }
    expect(server.fake.calls).toEqual([])
    expect(server.lifecycle.unsafeSnapshot().phase).toBe("ready")
  })

  it("a parameter given twice is refused", async () => {
    const server = await start()
    for (const path of ["/items?limit=1&limit=2", "/items/a?verified=true&verified=false"]) {
      const answer = await server.request(path)
      expect([answer.status, answer.json]).toMatchObject([400, { error: "InvalidRequest" }])
    }
  })

  it("a method that a path does not take is 405 with its list", async () => {
    const server = await start()
    for (const [path, methods] of routes) {
      for (const method of [
        "GET",
        "HEAD",
        "PUT",
        "POST",
        "DELETE",
        "PATCH",
        "OPTIONS",
        "TRACE",
        "PROPFIND",
        "SEARCH"
      ]) {
        if (methods.includes(method) || (method === "HEAD" && methods.includes("GET"))) continue
        const answer = await server.request(path, { method })
        expect([method, path, answer.status]).toEqual([method, path, 405])
        expect(answer.headers.allow).not.toContain(method === "HEAD" ? "HEAD" : method)
        if (method !== "HEAD") expect(answer.json).toMatchObject({ error: "MethodNotAllowed" })
      }
    }
    expect(server.fake.calls).toEqual([])
  })

  it("an id of any length is refused for its length", async () => {
    const server = await start()
    for (const length of [256, 4_096, 4_097, 12_000]) {
      for (const method of ["GET", "PUT", "DELETE"]) {
        const answer = await server.request(`/items/${"x".repeat(length)}`, { method })
        expect([method, answer.status, answer.json]).toMatchObject([method, 400, { error: "InvalidItem" }])
      }
    }
    const encoded = await server.request(`/items/${"%C3%A9".repeat(2_000)}`)
    expect([encoded.status, encoded.json]).toMatchObject([400, { error: "InvalidItem" }])
  })

  it("deep and wide JSON is refused with a short message", async () => {
    const server = await start()
    const deep = (open: string, end: string) => open.repeat(40_000) + end.repeat(40_000)
    const bodies = [
      deep("[", "]"),
      deep('{"a":', "}").replace(":}", ":1}"),
      `{"read_only":${deep("[", "]")}}`,
      `{"sequences":${deep("[", "]")}}`,
      `{"budget":${deep('{"rows":', "}").replace(":}", ":1}")}}`,
      `{"all":true,"more":${deep("[", "]")}}`,
      `{"sequences":["${"x".repeat(500_000)}"]}`,
      `{${Array.from({ length: 50_000 }, (_, index) => `"k${index}":1`).join(",")}}`
    ]
    for (const path of ["readonly", "verify", "repair", "dead-letters/retry", "dead-letters/drop"]) {
      for (const body of bodies) {
        const answer = await server.request(`/admin/${path}`, {
          method: "POST",
          body,
          headers: { "content-type": "application/json" }
        })
        expect([path, body.slice(0, 20), answer.status]).toEqual([path, body.slice(0, 20), 400])
        expect(answer.json).toMatchObject({ error: "InvalidBody" })
        expect(answer.text.length).toBeLessThan(2_000)
      }
    }
    expect(server.fake.calls).toEqual([])
  })
})

describe("asking before sending", () => {
  const asking = (path: string, length: number, more = "") =>
    `PUT ${path} HTTP/1.1\r\n${host}Expect: 100-continue\r\n${more}Content-Length: ${length}\r\n\r\n`

  it("a body that would be refused is not asked for", async () => {
    const server = await start()
    for (const [head, status] of [
      [asking("/items/a", 2 * 1024 * 1024), 413],
      [asking("/items/a", 5, "Content-Encoding: gzip\r\n"), 415],
      [asking("/items/a", 5, "If-Match: nonsense\r\n"), 400],
      [asking("/items/a..b", 5), 400],
      [asking("/nowhere", 5), 404],
      [asking("/admin/drain", 5), 405],
      [`POST /items HTTP/1.1\r\n${host}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n`, 415],
      [
        `POST /admin/readonly HTTP/1.1\r\n${host}Expect: 100-continue\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n`,
        415
      ]
    ] as const) {
      const [answer, ...more] = await wire(server, head)
      expect(more).toEqual([])
      expect(answer?.status).toBe(status)
      // Whether the body comes is not known, so nothing else can be understood on this connection.
      expect(answer?.headers.connection).toBe("close")
    }
    expect(server.fake.calls).toEqual([])
  })

  it("a body that is taken is asked for, once, and in its turn", async () => {
    const server = await start()
    const latch = Effect.unsafeMakeLatch(false)
    server.fake.beforeWrite = latch.await
    const socket = await server.connect()
    let text = ""
    socket.on("data", (part) => {
      text += part.toString("utf8")
    })
    socket.write(put("first", "1") + asking("/items/a", 3, close))
    await eventually(() => server.fake.calls.length === 1)
    expect(text).toBe("")
    await Effect.runPromise(latch.open)
    await eventually(() => text.includes("100 Continue"))
    socket.write("abc")
    await new Promise((resolve) => socket.on("close", resolve))
    expect(answersOf(text).map(({ status }) => status)).toEqual([201, 100, 201])
    expect((await server.request("/items/a")).text).toBe("abc")
  })

  it("lines are asked for too", async () => {
    const server = await start()
    const socket = await server.connect()
    let text = ""
    socket.on("data", (part) => {
      text += part.toString("utf8")
    })
    const line = '{"id":"a","content":1}\n'
    socket.write(
      `POST /items HTTP/1.1\r\n${host}${close}Expect: 100-continue\r\nContent-Type: application/x-ndjson\r\nContent-Length: ${line.length}\r\n\r\n`
    )
    await eventually(() => text.includes("100 Continue"))
    socket.write(line)
    await new Promise((resolve) => socket.on("close", resolve))
    expect(answersOf(text).map(({ status }) => status)).toEqual([100, 200])
    expect(text).toContain('"acknowledged":1')
  })

  it("HTTP/1.0 knows no asking", async () => {
    const server = await start()
    const [answer] = await wire(
      server,
      `PUT /items/a HTTP/1.0\r\n${host}Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx`
    )
    expect(answer?.status).toBe(201)
  })
})

describe("answers arrive", () => {
  /** Sends everything before it reads anything, as simple clients do. */
  const sendAllFirst = (server: Harness, head: string, body: Buffer) =>
    new Promise<string>((resolve, reject) => {
      const socket = net.connect(server.port, server.host)
      socket.on("error", reject)
      socket.write(head)
      socket.write(body, () => {
        let text = ""
        socket.on("data", (part) => {
          text += part.toString("utf8")
        })
        socket.on("close", () => resolve(text))
      })
    })

  it("early refusals, whatever the client still sends", async () => {
    const server = await start()
    const body = Buffer.alloc(24 * 1024 * 1024, "x")
    for (const [head, status] of [
      [`PUT /items/a HTTP/1.1\r\n${host}${close}Content-Length: ${body.length}\r\n\r\n`, 413],
      [`PUT /items/a HTTP/1.0\r\n${host}Content-Length: ${body.length}\r\n\r\n`, 413],
      [
        `PUT /items/a HTTP/1.1\r\n${host}${close}Content-Encoding: br\r\nContent-Length: ${body.length}\r\n\r\n`,
        415
      ],
      [
        `POST /items HTTP/1.1\r\n${host}${close}Content-Type: text/csv\r\nContent-Length: ${body.length}\r\n\r\n`,
        415
      ],
      [`POST /nowhere HTTP/1.1\r\n${host}${close}Content-Length: ${body.length}\r\n\r\n`, 404],
      [`POST /admin/flush HTTP/1.1\r\n${host}${close}Content-Length: ${body.length}\r\n\r\n`, 200],
      [`PUT /items/a HTTP/1.1\r\nContent-Length: ${body.length}\r\n\r\n`, 400],
      ["nonsense\r\n\r\n", 400],
      [`GET /items/${"x".repeat(40_000)} HTTP/1.1\r\n${host}\r\n`, 431]
    ] as const) {
      const text = await sendAllFirst(server, head, body)
      expect([head.slice(0, 60), answersOf(text).map((answer) => answer.status)]).toEqual([
        head.slice(0, 60),
        [status]
      ])
    }
  }, 120_000)

  it("also while the engine goes down", async () => {
    const server = await start()
    await server.request("/admin/drain", { method: "POST" })
    const body = Buffer.alloc(8 * 1024 * 1024, "x")
    const text = await sendAllFirst(
      server,
      `PUT /items/a HTTP/1.1\r\n${host}Content-Length: ${body.length}\r\n\r\n`,
      body
    )
    expect(answersOf(text).map(({ status }) => status)).toEqual([413])
  })

  it.each([
    { sent: "one request", requests: [put("a", "1")], statuses: [201] },
    { sent: "the last of two", requests: [get("/items/a"), put("a", "1")], statuses: [404, 201] },
    { sent: "the first of two", requests: [put("a", "1"), get("/items/a")], statuses: [201, 200] }
  ])("to a client that closed its side while $sent was being served", async ({ requests, statuses }) => {
    const server = await start()
    const latch = Effect.unsafeMakeLatch(false)
    server.fake.beforeWrite = latch.await
    const socket = net.connect({ port: server.port, host: server.host, allowHalfOpen: true })
    let text = ""
    socket.on("data", (part) => {
      text += part.toString("utf8")
    })
    const ended = new Promise((resolve) => socket.on("end", resolve))
    socket.end(requests.join(""))
    await eventually(() => server.fake.calls.some(({ name }) => name.startsWith("submit")))
    await new Promise((resolve) => setTimeout(resolve, 50))
    await Effect.runPromise(latch.open)
    await ended
    expect(answersOf(text).map(({ status }) => status)).toEqual(statuses)
  })

  it("a client that closes its side in the middle of a body is told", async () => {
    const server = await start()
    const socket = net.connect({ port: server.port, host: server.host, allowHalfOpen: true })
    let text = ""
    socket.on("data", (part) => {
      text += part.toString("utf8")
    })
    const ended = new Promise((resolve) => socket.on("end", resolve))
    socket.end(`PUT /items/a HTTP/1.1\r\n${host}Content-Length: 10\r\n\r\nabc`)
    await ended
    const [answer] = answersOf(text)
    expect([answer?.status, errorOf(answer!)]).toEqual([400, "MalformedRequest"])
    expect(server.fake.calls).toEqual([])
  })

  it("a connection that was ended is not kept by a client that goes on sending", async () => {
    const server = await start()
    const socket = await server.connect()
    socket.on("error", () => {})
    socket.write(get("/health/live", close))
    const closed = new Promise((resolve) => socket.on("close", resolve))
    const timer = setInterval(() => socket.write(get("/health/live").repeat(100)), 20)
    socket.resume()
    await closed
    clearInterval(timer)
  }, 60_000)
})

describe("lengths", () => {
  it("an empty item has its Content-Length", async () => {
    const server = await start()
    await server.request("/items/empty", { method: "PUT", body: "" })
    for (const [method, length] of [
      ["GET", "0"],
      ["HEAD", "0"]
    ] as const) {
      const answer = await server.request("/items/empty", { method })
      expect([
        method,
        answer.status,
        answer.headers["content-length"],
        answer.headers["transfer-encoding"]
      ]).toEqual([method, 200, length, undefined])
    }
    await server.request("/items/full", { method: "PUT", body: "abc" })
    expect((await server.request("/items/full", { method: "HEAD" })).headers["content-length"]).toBe("3")
  })

  it("answers without content have no length that says otherwise", async () => {
    const server = await start()
    await server.request("/items/a", { method: "PUT", body: "abc" })
    const etag = (await server.request("/items/a")).headers.etag!
    const same = await server.request("/items/a", { headers: { "if-none-match": etag } })
    expect([same.status, same.headers["transfer-encoding"]]).toEqual([304, undefined])
    const gone = await server.request("/items/a", { method: "DELETE" })
    expect([gone.status, gone.headers["content-length"], gone.headers["transfer-encoding"]]).toEqual([
      204,
      undefined,
      undefined
    ])
  })
})

describe("durability that was not reached", () => {
  it("is told by a header", async () => {
    const server = await start()
    server.fake.reached = "wal"
    for (const [method, status] of [
      ["PUT", 201],
      ["DELETE", 204]
    ] as const) {
      const answer = await server.request("/items/a?durability=archive", { method })
      expect([answer.status, answer.headers["x-sync-durability"]]).toEqual([status, "wal"])
    }
    server.fake.reached = undefined
    const reached = await server.request("/items/a?durability=archive", { method: "DELETE" })
    expect(reached.headers["x-sync-durability"]).toBe("archive")
  })
})
