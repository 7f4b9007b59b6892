/** Thousands of hostile requests against the daemon: no crash, no hang, no fault of its own, memory flat. */
import { randomInt } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, it } from "vitest"
import { Chance } from "../simulation/Chance.js"
import { bytesOf, hostileRequest, type OpenApiDocument } from "./hostile/Requests.js"
import { killAll, startDaemon } from "./support.js"

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "sync-engine-hostile-"))
})
afterEach(async () => {
  await killAll()
  rmSync(directory, { recursive: true, force: true })
})

const requests = Number(process.env.HOSTILE_REQUESTS ?? 10_000)
const atOnce = 8
const patienceMs = 20_000

/** What the server may say before it knows what is asked for. */
const ofTheConnection = new Set([400, 401, 403, 404, 405, 408, 411, 413, 415, 417, 431])

const exchange = (port: number, bytes: Buffer): Promise<string> =>
  new Promise((resolve, reject) => {
    const parts: Array<Buffer> = []
    const socket = connect(port, "127.0.0.1", () => socket.write(bytes))
    const timer = setTimeout(() => {
      socket.destroy()
      reject(new Error(`no end within ${patienceMs} ms`))
    }, patienceMs)
    socket.on("data", (part) => parts.push(part))
    // Whoever refuses a body early may reset the connection once it has said so.
    socket.on("error", () => {})
    socket.on("close", () => {
      clearTimeout(timer)
      resolve(Buffer.concat(parts).toString("latin1"))
    })
  })

it(`${requests} hostile requests are refused or served as documented`, async () => {
  const seed = Number(process.env.HOSTILE_SEED ?? randomInt(1, 2 ** 31))
  console.log(`hostile requests of seed ${seed}`)
  const chance = new Chance(seed)
  const daemon = await startDaemon(["--data-dir", directory, "--log-format", "json"])
  const { host, port } = new URL(daemon.url)
  const memoryMiB = () =>
    Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${daemon.child.pid}/status`, "utf8"))?.[1]) / 1024
  const document = (await (await fetch(`${daemon.url}/openapi.json`)).json()) as OpenApiDocument
  const statuses = new Map<number, number>()
  const problems: Array<string> = []
  let sent = 0
  let warm = 0
  const client = async () => {
    while (sent < requests && problems.length < 5) {
      if (++sent === Math.floor(requests / 2)) warm = memoryMiB()
      const request = hostileRequest(document, chance)
      const bytes = bytesOf(request, host)
      const shown = () => JSON.stringify(bytes.toString("latin1").slice(0, 400))
      try {
        const reply = await exchange(Number(port), bytes)
        const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(reply)?.[1] ?? 0)
        statuses.set(status, (statuses.get(status) ?? 0) + 1)
        const isDocumented = request.documented?.has(status) === true || ofTheConnection.has(status)
        if (status === 0) problems.push(`no answer to ${shown()}`)
        else if (!isDocumented || (status >= 500 && status !== 501)) {
          problems.push(`${status} to ${shown()}: ${reply.slice(-300)}`)
        }
      } catch (error) {
        problems.push(`${String(error)}: ${shown()}`)
      }
    }
  }
  await Promise.all(Array.from({ length: atOnce }, client))
  console.log(
    Object.fromEntries([...statuses].sort()),
    `${Math.round(memoryMiB() - warm)} MiB more in the second half`
  )
  expect(problems).toEqual([])
  expect(daemon.child.exitCode).toBeNull()
  expect(daemon.err()).not.toMatch(/"level":"(ERROR|FATAL)"|"logLevel":"(ERROR|FATAL)"|Unhandled/)
  expect(memoryMiB() - warm).toBeLessThan(150)
  expect((await fetch(`${daemon.url}/health/ready?for=writes`)).status).toBe(200)
  expect((await fetch(`${daemon.url}/items/still.there`, { method: "PUT", body: "1" })).status).toBe(201)
})
