/** The cache: one Redis behind a proxy, or a cluster, whose nodes name themselves and so are reached directly. */
import { Redis } from "ioredis"
import { openProxy } from "../support/proxy.js"
import {
  clusterArgs,
  type RedisServer,
  startRedis as startNode,
  startRedisCluster
} from "../support/redis.js"
import { type RunningServer, startRedis } from "../support/servers.js"
import { type Fault, network, signals } from "./ServerFaults.js"

export interface CacheTier {
  /** Where the daemon looks for it. */
  readonly url: string
  /** Begins the key of each item. */
  readonly prefix: string
  readonly faults: ReadonlyArray<Fault>
  /** A client of the server that has the keys. */
  readonly client: () => Promise<Redis>
  /** The one Redis, where it is one. */
  readonly single?: RunningServer
  readonly pids: () => ReadonlyArray<number>
  readonly stop: () => Promise<void>
}

const flushAll = (client: () => Promise<Redis>): Fault => ({
  kind: "redis FLUSHALL",
  parts: ["redis"],
  lasts: [0, 100],
  begin: async () => {
    const redis = await client()
    await redis.flushall()
    redis.disconnect()
    return () => {}
  }
})

export const oneRedis = async (): Promise<CacheTier> => {
  const server = await startRedis()
  const proxy = await openProxy(server.port)
  const client = async () => new Redis(server.url)
  return {
    url: `redis://127.0.0.1:${proxy.port}`,
    prefix: "sync-engine:item:",
    faults: [
      ...signals("redis", "redis", server),
      flushAll(client),
      ...network("redis", "redis network", proxy)
    ],
    client,
    single: server,
    pids: () => [server.pid],
    stop: async () => {
      proxy.close()
      await server.stop()
    }
  }
}

/** Ports of the primary and the replicas that have the slot, first the primary. */
const holdersOf = async (nodes: ReadonlyArray<RedisServer>, key: string): Promise<ReadonlyArray<number>> => {
  for (const { port } of nodes) {
    const asked = new Redis(port, { retryStrategy: () => null, commandTimeout: 1_000, lazyConnect: true })
    asked.on("error", () => {})
    try {
      await asked.connect()
      const slot = Number(await asked.call("CLUSTER", "KEYSLOT", key))
      const ranges = (await asked.call("CLUSTER", "SLOTS")) as ReadonlyArray<ReadonlyArray<unknown>>
      const range = ranges.find(([from, to]) => Number(from) <= slot && slot <= Number(to))
      if (range !== undefined)
        return range.slice(2).map((node) => Number((node as ReadonlyArray<unknown>)[1]))
    } catch {
      // Another one knows.
    } finally {
      asked.disconnect()
    }
  }
  throw new Error("no node of the cluster says who has the keys")
}

/** Three primaries with a replica each; the keys of an engine are all at one of them. */
export const redisCluster = async (): Promise<CacheTier> => {
  const cluster = await startRedisCluster()
  const nodes = [...cluster.nodes]
  const holders = () => holdersOf(nodes, "{sync-engine:}item:")
  const indexOf = (port: number | undefined) => nodes.findIndex((node) => node.port === port)
  const client = async () => new Redis((await holders())[0]!)
  const killed = (kind: string, which: number): Fault => ({
    kind,
    parts: ["redis"],
    lasts: [100, 5_000],
    begin: async () => {
      const index = indexOf((await holders())[which])
      const node = nodes[index]
      if (node === undefined) return undefined
      await node.kill()
      return async () => {
        nodes[index] = await startNode({ port: node.port, dir: node.dir, args: clusterArgs })
      }
    }
  })
  const handedOver = (how: "FORCE" | "TAKEOVER"): Fault => ({
    kind: `redis failover ${how}`,
    parts: ["redis"],
    lasts: [100, 2_000],
    begin: async () => {
      const [, replica] = await holders()
      if (replica === undefined) return undefined
      const client = new Redis(replica)
      await client.call("CLUSTER", "FAILOVER", how).catch(() => {})
      client.disconnect()
      return () => {}
    }
  })
  const stopped: Fault = {
    kind: "redis primary SIGSTOP",
    parts: ["redis"],
    lasts: [200, 5_000],
    begin: async () => {
      const node = nodes[indexOf((await holders())[0])]!
      node.pause()
      return () => node.resume()
    }
  }
  return {
    url: cluster.url,
    prefix: "{sync-engine:}item:",
    faults: [
      ...[killed("redis primary SIGKILL", 0), killed("redis replica SIGKILL", 1), stopped, flushAll(client)],
      ...[handedOver("FORCE"), handedOver("TAKEOVER")]
    ],
    client,
    pids: () => nodes.map(({ pid }) => pid),
    stop: async () => {
      await Promise.all(nodes.map((node) => node.stop()))
    }
  }
}
