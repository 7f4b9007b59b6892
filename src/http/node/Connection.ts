/** One connection: its requests one after the other, and an end that loses no answer. */
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http"
import type { Socket } from "node:net"
import { mapError } from "../api/ErrorMapping.js"
import type { RequestFailed } from "../api/RequestFailed.js"
import { breakBody } from "../middleware/RequestBody.js"

/** Serves one request; the response is closed when it is done. */
export type Handle = (request: IncomingMessage, response: ServerResponse) => void

interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

/** How long a client may be silent, and how long it may go on sending, after the last answer. */
const silenceMs = 5_000
const lingerMs = 30_000

const ignore = () => {}

const bodyOf = (
  problem: RequestFailed
): { readonly headers: Record<string, string>; readonly text: string } => {
  const { body, headers } = mapError(problem)
  const text = JSON.stringify(body)
  return {
    text,
    headers: {
      ...headers,
      Connection: "close",
      "Content-Type": "application/json",
      "Content-Length": String(Buffer.byteLength(text))
    }
  }
}

/** An answer for which there is no request. */
const rawAnswer = (problem: RequestFailed): string => {
  const { headers, text } = bodyOf(problem)
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status] ?? ""}\r\n${lines.join("")}\r\n${text}`
}

/**
 * Node begins pipelined requests all at once and only orders their answers. Here a request begins when the one
 * before it is answered, so that a client reads what it wrote in the same breath. While requests wait, nothing more
 * is read, so that they are as many as came with one read at most.
 */
export class Connection {
  private readonly waiting: Array<Exchange> = []
  private current: Exchange | undefined
  /** Why nothing more can be understood here. */
  private problem: RequestFailed | undefined
  private ended = false

  constructor(
    private readonly socket: Socket,
    private readonly handle: Handle
  ) {
    // Node calls this behind the last answer; its own closes at once, and resets when there is something unread.
    socket.destroySoon = () => this.end()
    socket.on("error", ignore)
    socket.on("resume", this.hold)
    socket.once("close", () => {
      this.ended = true
      this.waiting.length = 0
    })
  }

  /** Also when node resumes, which it does behind every message it has parsed. */
  private readonly hold = (): void => {
    if (this.waiting.length > 0) this.socket.pause()
  }

  /** Takes the next request. */
  accept(request: IncomingMessage, response: ServerResponse): void {
    if (this.ended) return
    const exchange = { request, response }
    if (this.current === undefined) this.begin(exchange)
    else {
      this.waiting.push(exchange)
      process.nextTick(this.hold)
    }
  }

  /** What comes now is no request; those before it are answered first. */
  fail(problem: RequestFailed): void {
    if (this.ended || this.problem !== undefined) return
    this.problem = problem
    const { current } = this
    if (current === undefined) this.refuse(problem)
    else if (this.waiting.length === 0 && !current.request.complete) {
      current.response.shouldKeepAlive = false
      breakBody(current.request, problem)
    }
  }

  private begin(exchange: Exchange): void {
    this.current = exchange
    exchange.response.once("close", () => this.next())
    this.handle(exchange.request, exchange.response)
  }

  private next(): void {
    this.current = undefined
    if (this.ended || this.socket.destroyed) return
    const exchange = this.waiting.shift()
    const isLast = this.waiting.length === 0
    if (isLast && this.socket.isPaused()) this.socket.resume()
    if (this.problem !== undefined && isLast && exchange?.request.complete !== true) {
      this.refuse(this.problem, exchange?.response)
    } else if (exchange !== undefined) {
      // The one before may have been a stream with a bound on its silence.
      this.socket.setTimeout(0)
      this.begin(exchange)
    }
  }

  private refuse(problem: RequestFailed, response?: ServerResponse): void {
    if (response === undefined) {
      this.socket.write(rawAnswer(problem))
      this.end()
    } else {
      const { headers, text } = bodyOf(problem)
      response.writeHead(problem.status, headers).end(text)
    }
  }

  /**
   * Says that nothing more comes, and closes when the client has done so too. To close while bytes are unread would
   * reset the connection, and the client might lose the answer.
   */
  private end(): void {
    if (this.ended) return
    this.ended = true
    this.waiting.length = 0
    const { socket } = this
    socket.end()
    // What comes now is no request, and is kept from the parser; only a socket that reads can be taken from it.
    const cut = () => {
      if (!socket.isPaused()) socket.off("resume", cut).removeAllListeners("data").on("data", ignore)
    }
    socket.on("resume", cut)
    if (socket.isPaused()) socket.resume()
    else cut()
    socket.setTimeout(silenceMs)
    const timer = setTimeout(() => socket.destroy(), lingerMs)
    socket.once("close", () => clearTimeout(timer))
  }
}
