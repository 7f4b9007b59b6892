/** What a run of chaos is made of: servers, proxies before them, a folder that can be full, a clock that can be set. */
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type Connection, createConnection } from "mysql2/promise"
import { Chance } from "../process/durability/Chance.js"
import { openProxy, type Proxy } from "../support/proxy.js"
import { freePort } from "../support/redis.js"
import { type RunningServer, requireServers, startMysql } from "../support/servers.js"
import { type CacheTier, oneRedis, redisCluster } from "./CacheTier.js"
import { startGalera } from "./Galera.js"
import type { HistoryRecord } from "./History.js"
import { Node } from "./Node.js"
import { type Fault, network, signals } from "./ServerFaults.js"

export interface World {
  readonly directory: string
  readonly dataDir: string
  readonly mysql: RunningServer
  readonly cache: CacheTier
  readonly sqlProxy: Proxy
  readonly node: Node
  /** Those of the SQL server and its network. */
  readonly sqlFaults: ReadonlyArray<Fault>
  /** The database as the daemon's user sees it, past the proxy. */
  readonly sqlUrl: string
  /** A connection past the proxy, of a user who may do everything. */
  readonly admin: () => Promise<Connection>
  /** The data folder has a bound of its own, so that it can be full. */
  readonly bounded: boolean
  /** Sets the daemon's clock so far off; undefined without libfaketime. */
  readonly setClock: ((seconds: number) => void) | undefined
  readonly close: () => Promise<void>
}

const user = "chaos"
const password = "chaos"
const database = "chaos"

/** A small file system of its own, where that is possible. */
const bound = (dataDir: string): boolean => {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=96m,mode=700", "chaos", dataDir], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
}

const libfaketime = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
  .map((machine) => `/usr/lib/${machine}/faketime/libfaketime.so.1`)
  .find((path) => existsSync(path))

const clockOf = (directory: string) => {
  if (libfaketime === undefined) return { env: {}, setClock: undefined }
  const file = join(directory, "clock")
  const setClock = (seconds: number) => {
    writeFileSync(`${file}.new`, `${seconds < 0 ? "" : "+"}${seconds}\n`)
    renameSync(`${file}.new`, file)
  }
  setClock(0)
  const env = {
    LD_PRELOAD: libfaketime,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_CACHE_DURATION: "1",
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
    DONT_FAKE_MONOTONIC: "1"
  }
  return { env, setClock }
}

/** What differs between lives. */
const someSettings = (chance: Chance): ReadonlyArray<string> => [
  ...["--l1-max-bytes", chance.pick(["0", "64KiB", "16MiB"])],
  ...["--batch-flush-count", chance.pick(["20", "200", "1000"])],
  ...["--batch-flush-interval", chance.pick(["5 ms", "100 ms", "500 ms"])],
  ...["--sql-write-concurrency", chance.pick(["1", "4"])]
]

export interface WorldOptions {
  readonly seed: number
  /** A Redis Cluster in place of one Redis. */
  readonly cluster?: boolean
  /** Three nodes of a Galera cluster in place of one MariaDB. */
  readonly galera?: boolean
  readonly note: (record: HistoryRecord) => void
  readonly onFall: (served: boolean, log: string) => void
}

export const openWorld = async (options: WorldOptions): Promise<World> => {
  requireServers({ mysql: true, redis: true })
  const directory = mkdtempSync(join(tmpdir(), "sync-engine-chaos-"))
  const dataDir = join(directory, "data")
  mkdirSync(dataDir)
  const chance = new Chance(options.seed)
  const galera = options.galera === true ? await startGalera() : undefined
  const mysql = galera?.server ?? (await startMysql())
  const cache = await (options.cluster === true ? redisCluster() : oneRedis())
  const admin = () => createConnection(mysql.url)
  const root = await admin()
  await root.query(`CREATE DATABASE ${database}`)
  // May not write while the server is read-only.
  await root.query(`CREATE USER ${user}@'127.0.0.1' IDENTIFIED BY '${password}'`)
  await root.query(`GRANT ALL ON ${database}.* TO ${user}@'127.0.0.1'`)
  await root.end()
  const sqlProxy = await openProxy(mysql.port)
  const bounded = bound(dataDir)
  // Who is stopped in the middle leaves nothing behind.
  const abandon = () => {
    for (const pid of [...(galera?.pids() ?? [mysql.pid]), ...cache.pids()]) {
      try {
        process.kill(pid, "SIGKILL")
      } catch {}
    }
    if (bounded) execFileSync("umount", ["-l", dataDir], { stdio: "ignore" })
    rmSync(directory, { recursive: true, force: true })
  }
  process.once("exit", abandon)
  const urlAt = (port: number) => `mysql://${user}:${password}@127.0.0.1:${port}/${database}`
  const { env, setClock } = clockOf(directory)
  const node = new Node({
    number: 0,
    port: await freePort(),
    logFile: join(directory, "daemon.log"),
    args: () => [
      ...["--data-dir", dataDir, "--sql-url", urlAt(sqlProxy.port), "--log-format", "json"],
      ...["--redis-url", cache.url],
      ...["--sql-connect-timeout", "1s", "--sql-query-timeout", "3s", "--sql-start-timeout", "2s"],
      ...["--health-interval", "1s", "--wal-drain-interval", "1s", "--flush-timeout", "5s"],
      ...["--wal-max-bytes", "32MiB", "--shutdown-timeout", "10s", ...someSettings(chance)]
    ],
    env,
    note: options.note,
    onFall: options.onFall
  })
  writeFileSync(node.logFile, "")
  return {
    ...{ directory, dataDir, mysql, cache, sqlProxy, node, admin, bounded, setClock },
    get sqlUrl() {
      return urlAt(mysql.port)
    },
    sqlFaults: [
      ...(galera?.faults(sqlProxy) ?? signals("sql", "sql", mysql)),
      ...network("sql", "sql network", sqlProxy)
    ],
    close: async () => {
      process.removeListener("exit", abandon)
      await node.kill()
      sqlProxy.close()
      await Promise.all([mysql.stop(), cache.stop()])
      if (bounded) execFileSync("umount", [dataDir], { stdio: "ignore" })
      rmSync(directory, { recursive: true, force: true })
    }
  }
}
