/** A real server on a free port over the fake engine, and raw requests against it. */
import * as http from "node:http"
import * as net from "node:net"
import { Effect, Exit, Layer, Redacted, Scope } from "effect"
import type { EngineConfig } from "../../src/config/Model.js"
import { defaults, LiveConfig } from "../../src/EngineConfig.js"
import { type HttpOptions, make } from "../../src/http/HttpServer.js"
import * as Lifecycle from "../../src/Lifecycle.js"
import { SyncEngine } from "../../src/SyncEngine.js"
import { Fake } from "./FakeEngine.js"

export interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: Buffer
  readonly text: string
  readonly json: unknown
}

export interface RequestOptions {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
  readonly agent?: http.Agent
}

export interface Harness {
  readonly fake: Fake
  readonly lifecycle: Lifecycle.LifecycleService
  readonly url: string
  readonly host: string
  readonly port: number
  readonly awaitShutdownAnswered: Promise<void>
  readonly setConfig: (change: Partial<EngineConfig>) => Promise<void>
  readonly request: (path: string, options?: RequestOptions) => Promise<Answer>
  /** Sends these bytes and collects what comes back until the connection ends or `until` appears. */
  readonly raw: (bytes: string | Uint8Array, until?: string) => Promise<string>
  readonly connect: () => Promise<net.Socket>
  readonly close: () => Promise<void>
}

export const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

export const lines = (text: string): Array<Readonly<Record<string, unknown>>> =>
  text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line))

const open = new Set<() => Promise<void>>()

/** Closes whatever a test has left open. */
export const closeAll = async (): Promise<void> => {
  for (const close of [...open]) await close()
}

export const send = (url: string, { agent, body, headers, method }: RequestOptions = {}): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const request = http.request(url, {
      method: method ?? "GET",
      headers: headers ?? {},
      agent: agent ?? false
    })
    request.on("error", reject)
    request.on("response", (response) => {
      const parts: Array<Buffer> = []
      response.on("error", reject)
      response.on("data", (part: Buffer) => parts.push(part))
      response.on("end", () => {
        const all = Buffer.concat(parts)
        const text = all.toString("utf8")
        resolve({
          status: response.statusCode!,
          headers: response.headers,
          body: all,
          text,
          json: parse(text)
        })
      })
    })
    request.end(body)
  })

export const start = async (
  options: Partial<Omit<HttpOptions, "token">> & { readonly token?: string } = {},
  ready = true
): Promise<Harness> => {
  const scope = Effect.runSync(Scope.make())
  const program = Effect.gen(function* () {
    const lifecycle = yield* Lifecycle.Lifecycle
    const live = yield* LiveConfig
    const fake = new Fake(lifecycle)
    if (ready) yield* lifecycle.markReady
    const { token, ...rest } = options
    const face = yield* make({
      host: "127.0.0.1",
      port: 0,
      ...rest,
      token: token === undefined ? undefined : Redacted.make(token)
    }).pipe(
      Effect.provide(
        Layer.mergeAll(
          Layer.succeed(SyncEngine, fake.service),
          Layer.succeed(Lifecycle.Lifecycle, lifecycle),
          Layer.succeed(LiveConfig, live)
        )
      )
    )
    return {
      fake,
      lifecycle,
      face,
      setConfig: (change: Partial<EngineConfig>) => Effect.runPromise(Effect.asVoid(live.update(change)))
    }
  })
  const { face, fake, lifecycle, setConfig } = await Effect.runPromise(
    program.pipe(
      Effect.provide(
        Layer.merge(Lifecycle.layer, LiveConfig.layer({ ...defaults, maxPayloadBytes: 1024 * 1024 }))
      ),
      Scope.extend(scope)
    )
  )
  const connect = () =>
    new Promise<net.Socket>((resolve, reject) => {
      const socket = net.connect(face.port, face.host, () => resolve(socket))
      socket.on("error", reject)
    })
  const close = async () => {
    open.delete(close)
    await Effect.runPromise(Scope.close(scope, Exit.void))
  }
  open.add(close)
  return {
    fake,
    lifecycle,
    url: face.url,
    host: face.host,
    port: face.port,
    get awaitShutdownAnswered() {
      return Effect.runPromise(face.awaitShutdownAnswered)
    },
    setConfig,
    request: (path, request) => send(`${face.url}${path}`, request),
    raw: async (bytes, until) => {
      const socket = await connect()
      return new Promise((resolve) => {
        let text = ""
        const done = () => {
          socket.destroy()
          resolve(text)
        }
        socket.on("error", done)
        socket.on("close", done)
        socket.on("data", (part) => {
          text += part.toString("utf8")
          if (until !== undefined && text.includes(until)) done()
        })
        socket.write(bytes)
      })
    },
    connect,
    close
  }
}

export const sleep = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds))

/** Waits until something holds; fails after five seconds. */
export const eventually = async (holds: () => boolean): Promise<void> => {
  for (let attempt = 0; attempt < 500; attempt++) {
    if (holds()) return
    await sleep(10)
  }
  throw new Error("did not come about within 5 s")
}
