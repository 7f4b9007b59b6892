/** The faults: each begins, stands for a while, and ends. */
import { execFileSync } from "node:child_process"
import {
  closeSync,
  copyFileSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync
} from "node:fs"
import { join } from "node:path"
import { type Connection, createConnection, type RowDataPacket } from "mysql2/promise"
import type { Fault } from "./ServerFaults.js"
import type { World } from "./World.js"

const daemon = ({ node }: World): ReadonlyArray<Fault> => [
  {
    kind: "daemon SIGKILL",
    parts: ["daemon"],
    lasts: [0, 1_000],
    begin: async () => {
      await node.kill()
      return () => node.start()
    }
  },
  {
    kind: "daemon SIGTERM",
    parts: ["daemon"],
    lasts: [0, 500],
    begin: async () => {
      const { code, log, report } = await node.stop()
      // Before it has served it ends without a report.
      if (report === undefined && log.includes('"message":"ready"')) {
        throw new Error(`SIGTERM ended it with ${code} and without a report:\n${log.slice(-3_000)}`)
      }
      if (report?.clean === true && (report.items_left_in_log !== 0 || code !== 0)) {
        throw new Error(`a report that is not true: ${code} ${JSON.stringify(report)}`)
      }
      return () => node.start()
    }
  },
  {
    kind: "daemon SIGSTOP",
    parts: ["daemon"],
    lasts: [200, 4_000],
    begin: async () => {
      node.signal("SIGSTOP")
      return () => node.signal("SIGCONT")
    }
  },
  {
    kind: "descriptors exhausted",
    parts: ["daemon"],
    lasts: [200, 3_000],
    begin: async () => {
      const { pid } = node
      if (pid === undefined) return undefined
      const open = readdirSync(`/proc/${pid}/fd`).length
      execFileSync("prlimit", ["--pid", String(pid), `--nofile=${open}:`])
      return () => {
        if (node.pid === pid) execFileSync("prlimit", ["--pid", String(pid), "--nofile=20000:"])
      }
    }
  }
]

const clock = ({ setClock }: World): ReadonlyArray<Fault> =>
  setClock === undefined
    ? []
    : ["forward", "back"].map((way) => ({
        kind: `clock set ${way}`,
        parts: ["clock"],
        lasts: [500, 4_000],
        begin: async (chance) => {
          setClock((way === "back" ? -1 : 1) * chance.pick([2, 30, 600, 3_600]))
          return () => setClock(0)
        }
      }))

/** Writes until nothing more goes in. */
const fill = (file: string): void => {
  const opened = openSync(file, "w")
  for (let size = 1 << 20; size >= 512; ) {
    try {
      writeSync(opened, Buffer.alloc(size))
    } catch {
      size >>= 1
    }
  }
  closeSync(opened)
}

const disk = ({ bounded, dataDir, node }: World): ReadonlyArray<Fault> => {
  const log = join(dataDir, "wal.db")
  const aside = join(dataDir, "aside")
  // A daemon that starts meanwhile would rightly make a new log: it has to have started, and must not start again.
  const away = (kind: string, instead: () => void): Fault => ({
    kind,
    parts: ["disk", "daemon"],
    lasts: [200, 3_000],
    begin: async () => {
      if (!(await node.started(20_000))) return undefined
      renameSync(log, aside)
      instead()
      return () => renameSync(aside, log)
    }
  })
  const full: Fault = {
    kind: "disk full",
    parts: ["disk"],
    lasts: [500, 4_000],
    begin: async () => {
      const ballast = join(dataDir, "ballast")
      fill(ballast)
      return () => rmSync(ballast)
    }
  }
  return [
    away("log moved away", () => {}),
    away("log replaced by a copy", () => copyFileSync(aside, log)),
    away("log replaced by something else", () => writeFileSync(log, "something else")),
    ...(bounded ? [full] : [])
  ]
}

/** Holds a connection past the proxy while it stands. */
const held = (
  world: World,
  kind: string,
  begin: (connection: Connection) => Promise<() => Promise<unknown>>
): Fault => ({
  kind,
  parts: ["sql"],
  lasts: [200, 5_000],
  begin: async () => {
    const connection = await world.admin()
    connection.on("error", () => {})
    const end = await begin(connection)
    return async () => {
      await end()
      connection.destroy()
    }
  }
})

/** Takes all connections there are, and ends those of the daemon. */
const exhaust = async (world: World, connection: Connection) => {
  await connection.query("SET GLOBAL max_connections = 12")
  const taken: Array<Connection> = []
  const url = new URL(world.sqlUrl)
  url.pathname = ""
  const [rows] = await connection.query<Array<RowDataPacket>>(
    "SELECT id FROM information_schema.processlist WHERE db = 'chaos'"
  )
  for (const { id } of rows) {
    await connection.query(`KILL ${id}`).catch(() => {})
  }
  for (let n = 0; n < 30; n++) {
    try {
      const one = await createConnection(url.href)
      one.on("error", () => {})
      taken.push(one)
    } catch {
      break
    }
  }
  return async () => {
    for (const one of taken) one.destroy()
    await connection.query("SET GLOBAL max_connections = 151")
  }
}

const sql = (world: World): ReadonlyArray<Fault> => [
  held(world, "sql read only", async (connection) => {
    await connection.query("SET GLOBAL read_only = 1")
    return () => connection.query("SET GLOBAL read_only = 0")
  }),
  held(world, "sql FLUSH TABLES WITH READ LOCK", async (connection) => {
    await connection.query("FLUSH TABLES WITH READ LOCK")
    return () => connection.query("UNLOCK TABLES")
  }),
  held(world, "sql connections exhausted", (connection) => exhaust(world, connection))
]

export const faultsOf = (world: World): ReadonlyArray<Fault> => [
  ...daemon(world),
  ...clock(world),
  ...disk(world),
  ...sql(world),
  ...world.sqlFaults,
  ...world.cache.faults
]
