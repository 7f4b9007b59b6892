import { mkdtempSync, rmSync } from "node:fs"
import { Agent, request } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { type Daemon, inspect, killAll, reportsOf, startDaemon, until } from "./support.js"

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "sync-engine-rolling-"))
})
afterEach(async () => {
  await killAll()
  rmSync(directory, { recursive: true, force: true })
})

interface Backend {
  readonly url: string
  readonly dataDir: string
  readonly daemon: Daemon
}

const delayMs = 2000
const pollMs = 50

const call = (agent: Agent, method: string, url: string, body?: string) =>
  new Promise<{ readonly status: number; readonly connection: string | undefined }>((resolve, reject) => {
    const sent = request(
      url,
      { agent, method, headers: { "content-type": "application/json" } },
      (response) => {
        response.on("error", reject).resume()
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, connection: response.headers.connection })
        )
      }
    )
    sent.on("error", reject)
    sent.end(body)
  })

/** A load balancer's view: a backend gets requests while its last probe of readiness said 200. */
const makeBalancer = () => {
  const backends = new Map<Backend, boolean>()
  const agent = new Agent({ keepAlive: true })
  const probes = new Agent({ keepAlive: false })
  let turn = 0
  let stopped = false
  const probe = async () => {
    while (!stopped) {
      await Promise.all(
        [...backends.keys()].map(async (backend) => {
          const ready = await call(probes, "GET", `${backend.url}/health/ready?for=writes`).then(
            ({ status }) => status === 200,
            () => false
          )
          if (backends.has(backend)) backends.set(backend, ready)
        })
      )
      await new Promise((resolve) => setTimeout(resolve, pollMs))
    }
  }
  const probing = probe()
  return {
    agent,
    add: (backend: Backend) => backends.set(backend, false),
    remove: (backend: Backend) => backends.delete(backend),
    isReady: (backend: Backend) => backends.get(backend) === true,
    pick: (): Backend | undefined => {
      const ready = [...backends].filter(([, isReady]) => isReady).map(([backend]) => backend)
      return ready[turn++ % Math.max(1, ready.length)]
    },
    stop: async () => {
      stopped = true
      await probing
      agent.destroy()
      probes.destroy()
    }
  }
}

describe("a rolling update", () => {
  it("under load fails no request: with SHUTDOWN_DELAY the old node serves until nobody sends it any", async () => {
    const balancer = makeBalancer()
    const launch = async (name: string): Promise<Backend> => {
      const dataDir = join(directory, name)
      const daemon = await startDaemon(["--data-dir", dataDir, "--shutdown-delay", `${delayMs}ms`])
      return { url: daemon.url, dataDir, daemon }
    }
    const joined = async (backend: Backend) => {
      balancer.add(backend)
      await until("readiness", () => balancer.isReady(backend), { shown: backend.daemon.err })
    }

    const acknowledged = new Map<string, Set<string>>()
    const failures: Array<string> = []
    let answers = 0
    let closedConnections = 0
    let stopping = false
    const client = async (number: number) => {
      for (let turn = 0; !stopping; turn++) {
        const backend = balancer.pick()
        if (backend === undefined) {
          failures.push("nobody is ready")
          return
        }
        const id = `client${number}.${turn}`
        const write = turn % 3 !== 2
        const target = write ? `/items/${id}` : "/items?limit=1"
        try {
          const { connection, status } = await call(
            balancer.agent,
            write ? "PUT" : "GET",
            backend.url + target,
            write ? `{"turn":${turn}}` : undefined
          )
          if (status !== 200 && status !== 201) failures.push(`${target}: ${status}`)
          if (connection === "close") closedConnections++
          answers++
          if (!write) continue
          const known = acknowledged.get(backend.dataDir) ?? new Set()
          acknowledged.set(backend.dataDir, known.add(id))
        } catch (error) {
          failures.push(`${target}: ${String(error)}`)
        }
      }
    }

    const nodes = [await launch("a"), await launch("b")]
    for (const node of nodes) await joined(node)
    const clients = Array.from({ length: 6 }, (_, number) => client(number))
    for (const [index, old] of nodes.entries()) {
      const before = answers
      await until("load", () => answers > before + 50, { shown: old.daemon.err })
      old.daemon.child.kill("SIGTERM")
      const result = await old.daemon.ended
      balancer.remove(old)
      expect([result.code, result.signal]).toEqual([0, null])
      expect(reportsOf(result.err)).toMatchObject([{ clean: true }])
      const fresh = await launch(index === 0 ? "a" : "b")
      nodes[index] = fresh
      await joined(fresh)
    }
    const before = answers
    await until("load", () => answers > before + 50)
    stopping = true
    await Promise.all(clients)
    await balancer.stop()
    expect(failures).toEqual([])
    expect(closedConnections).toBeGreaterThan(0)

    for (const node of nodes) {
      node.daemon.child.kill("SIGTERM")
      expect((await node.daemon.ended).code).toBe(0)
      const stored = await inspect(node.dataDir)
      expect([...(acknowledged.get(node.dataDir) ?? [])].filter((id) => !stored.has(id))).toEqual([])
    }
  })
})
