/** Private Redis servers for tests that kill, stop or restore one. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { connect, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Redis } from "ioredis"

export interface RedisServer {
  readonly port: number
  readonly url: string
  readonly pid: number
  /** Where the server keeps its files; kept by `kill`, so that a new server can start from it. */
  readonly dir: string
  /** Ends the server with SIGTERM and removes its folder. */
  readonly stop: () => Promise<void>
  /** Ends the server with SIGKILL, keeps its folder. */
  readonly kill: () => Promise<void>
  /** SIGSTOP: the server keeps its connections and answers nothing. */
  readonly pause: () => void
  readonly resume: () => void
}

/** A TCP port that was free a moment ago. */
export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => {
        if (address !== null && typeof address === "object") resolve(address.port)
        else reject(new Error("no address"))
      })
    })
  })

const accepts = (port: number, host: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, host)
    socket.setTimeout(1_000, () => socket.destroy(new Error("timeout")))
    socket.once("error", () => resolve(false))
    socket.write("PING\r\n")
    socket.once("data", (data) => {
      socket.destroy()
      resolve(/^(\+PONG|-NOAUTH)/.test(data.toString()))
    })
  })

const gone = (child: ChildProcess): Promise<void> =>
  child.exitCode !== null || child.signalCode !== null
    ? Promise.resolve()
    : new Promise((resolve) => child.once("exit", () => resolve()))

/** Starts an own redis-server that stores nothing unless `args` say so. */
export const startRedis = async (
  options: {
    readonly port?: number
    readonly dir?: string
    readonly host?: string
    readonly args?: ReadonlyArray<string>
  } = {}
): Promise<RedisServer> => {
  const host = options.host ?? "127.0.0.1"
  const port = options.port ?? (await freePort())
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), "redis-test-"))
  const child = spawn(
    "redis-server",
    [
      ...["--port", String(port), "--bind", host, "--dir", dir],
      ...["--save", "", "--appendonly", "no", "--protected-mode", "no", ...(options.args ?? [])]
    ],
    { stdio: ["ignore", "pipe", "pipe"] }
  )
  let log = ""
  child.stdout.on("data", (data) => {
    log = (log + String(data)).slice(-4_000)
  })
  child.stderr.on("data", (data) => {
    log = (log + String(data)).slice(-4_000)
  })
  const failed = new Promise<never>((_, reject) => {
    child.once("error", (error) =>
      reject(new Error(`redis-server cannot be started (${error.message}); apt-get install redis-server`))
    )
    child.once("exit", (code) => reject(new Error(`redis-server ended with code ${code}:\n${log}`)))
  })
  failed.catch(() => {})
  const signal = (name: NodeJS.Signals) => {
    child.kill(name)
  }
  const end = async (name: NodeJS.Signals) => {
    signal("SIGCONT")
    signal(name)
    await gone(child)
  }
  const orphaned = () => child.kill("SIGKILL")
  process.once("exit", orphaned)
  child.once("exit", () => process.removeListener("exit", orphaned))
  for (let tries = 0; ; tries++) {
    if (await Promise.race([accepts(port, host), failed])) break
    if (tries > 200) throw new Error(`redis-server does not answer on port ${port}:\n${log}`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  return {
    port,
    url: `redis://${host.includes(":") ? `[${host}]` : host}:${port}`,
    pid: child.pid!,
    dir,
    stop: async () => {
      await end("SIGTERM")
      rmSync(dir, { recursive: true, force: true })
    },
    kill: () => end("SIGKILL"),
    pause: () => signal("SIGSTOP"),
    resume: () => signal("SIGCONT")
  }
}

/** Three primaries with a replica each. */
export interface RedisCluster {
  readonly url: string
  readonly nodes: ReadonlyArray<RedisServer>
  /** The primary and the replica that hold a key. */
  readonly holders: (key: string) => Promise<{ readonly primary: RedisServer; readonly replica: RedisServer }>
  readonly stop: () => Promise<void>
}

/** What a node of a cluster is started with. */
export const clusterArgs: ReadonlyArray<string> = [
  ...["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"],
  ...["--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0"],
  ...["--repl-ping-replica-period", "1", "--enable-debug-command", "yes"]
]

/** Six nodes on loopback that fail over within about two seconds. */
export const startRedisCluster = async (args: ReadonlyArray<string> = []): Promise<RedisCluster> => {
  const nodes = await Promise.all(
    Array.from({ length: 6 }, () => startRedis({ args: [...clusterArgs, ...args] }))
  )
  const stop = async () => {
    await Promise.all(nodes.map((node) => node.stop()))
  }
  const raw = nodes.map(({ port }) => new Redis(port, { enableReadyCheck: false }))
  const until = async (what: string, holds: () => Promise<boolean>) => {
    for (let tries = 0; !(await holds()); tries++) {
      if (tries > 600) throw new Error(`the cluster does not come up: ${what}`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  try {
    const [first, ...others] = raw
    const slots = [0, 5461, 10923, 16384]
    for (let i = 0; i < 3; i++) await raw[i]!.call("CLUSTER", "ADDSLOTSRANGE", slots[i]!, slots[i + 1]! - 1)
    for (const [index, node] of raw.entries()) await node.call("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
    for (const node of others) await node.call("CLUSTER", "MEET", "127.0.0.1", nodes[0]!.port)
    const ids = await Promise.all(raw.map(async (node) => String(await node.call("CLUSTER", "MYID"))))
    for (const [index, node] of raw.entries()) {
      await until(`node ${index} knows all`, async () => {
        const known = String(await node.call("CLUSTER", "NODES"))
        return ids.every((id) => known.includes(id))
      })
    }
    for (let i = 3; i < 6; i++) await raw[i]!.call("CLUSTER", "REPLICATE", ids[i - 3]!)
    for (const [index, node] of raw.entries()) {
      await until(`node ${index} is well`, async () => {
        const info = String(await node.call("CLUSTER", "INFO"))
        const replication = await node.info("replication")
        return (
          info.includes("cluster_state:ok") && (index < 3 || replication.includes("master_link_status:up"))
        )
      })
    }
    await until("the replicas are known", async () => {
      const ranges = (await first!.call("CLUSTER", "SLOTS")) as ReadonlyArray<ReadonlyArray<unknown>>
      return ranges.length === 3 && ranges.every((range) => range.length === 4)
    })
    return {
      url: `redis-cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(",")}`,
      nodes,
      holders: async (key) => {
        const asked = new Redis(nodes[0]!.port)
        const slot = Number(await asked.call("CLUSTER", "KEYSLOT", key))
        asked.disconnect()
        const index = slots.findIndex((from, i) => slot >= from && slot < slots[i + 1]!)
        return { primary: nodes[index]!, replica: nodes[index + 3]! }
      },
      stop
    }
  } catch (error) {
    await stop()
    throw error
  } finally {
    for (const node of raw) node.disconnect()
  }
}
