/** Three nodes of a Galera cluster in place of one MariaDB. The engine is at one of them; a balancer leads it to another. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createConnection, type RowDataPacket } from "mysql2/promise"
import type { Proxy } from "../support/proxy.js"
import { freePort } from "../support/redis.js"
import { mysqlPassword, type RunningServer } from "../support/servers.js"
import { now, sleep } from "./Common.js"
import type { Fault } from "./ServerFaults.js"

const provider = "/usr/lib/galera/libgalera_smm.so"

class GaleraNode {
  child: ChildProcess | undefined

  constructor(
    readonly port: number,
    private readonly directory: string,
    private readonly args: ReadonlyArray<string>
  ) {}

  get url(): string {
    return `mysql://tester:${encodeURIComponent(mysqlPassword)}@127.0.0.1:${this.port}/mysql`
  }

  /** Starts it and waits until it has what the others have. */
  async start(extra: ReadonlyArray<string>): Promise<void> {
    const log = openSync(join(this.directory, "server.log"), "a")
    const child = spawn("mariadbd", [...this.args, ...extra], { stdio: ["ignore", log, log] })
    this.child = child
    await this.synced()
  }

  async synced(): Promise<void> {
    for (const end = now() + 120_000; now() < end; await sleep(200)) {
      if (this.child?.exitCode !== null) break
      const state = await this.state().catch(() => "")
      if (state === "Synced") return
    }
    const log = readFileSync(join(this.directory, "server.log"), "utf8")
    throw new Error(`a Galera node does not join:\n${log.slice(-3_000)}`)
  }

  private async state(): Promise<string> {
    const connection = await createConnection({ uri: this.url, connectTimeout: 2_000 })
    const [rows] = await connection.query<Array<RowDataPacket>>(
      "SHOW STATUS LIKE 'wsrep_local_state_comment'"
    )
    connection.destroy()
    return String(rows[0]?.Value)
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    const { child } = this
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise((resolve) => child.once("exit", resolve))
    child.kill("SIGCONT")
    child.kill(signal)
    const timer = setTimeout(() => child.kill("SIGKILL"), 20_000)
    await gone
    clearTimeout(timer)
  }
}

export interface Galera {
  /** The node that the engine is at. */
  readonly server: RunningServer
  readonly faults: (proxy: Proxy) => ReadonlyArray<Fault>
  readonly pids: () => ReadonlyArray<number>
}

const installed = async (directory: string) => {
  const nodes: Array<{ readonly directory: string; readonly ports: ReadonlyArray<number> }> = []
  for (let n = 0; n < 3; n++) {
    const folder = join(directory, `n${n}`)
    mkdirSync(folder)
    if (n === 0) {
      const args = ["--no-defaults", `--datadir=${join(folder, "data")}`, "--skip-test-db", "--user=mysql"]
      execFileSync("mariadb-install-db", [...args, "--auth-root-authentication-method=normal"], {
        stdio: ["ignore", "ignore", "pipe"]
      })
    } else execFileSync("cp", ["-a", join(directory, "n0", "data"), folder])
    execFileSync("chown", ["mysql", folder])
    nodes.push({
      directory: folder,
      ports: [await freePort(), await freePort(), await freePort(), await freePort()]
    })
  }
  return nodes
}

const argsOf = (
  directory: string,
  [port, group, incremental, state]: ReadonlyArray<number>,
  all: string
): ReadonlyArray<string> => [
  ...["--no-defaults", "--user=mysql", `--datadir=${join(directory, "data")}`, `--port=${port}`],
  ...[`--socket=${join(directory, "socket")}`, `--pid-file=${join(directory, "pid")}`],
  ...["--bind-address=127.0.0.1", "--binlog-format=ROW", "--innodb-autoinc-lock-mode=2"],
  ...["--innodb-buffer-pool-size=64M", "--wsrep-on=ON", `--wsrep-provider=${provider}`],
  ...["--wsrep-cluster-name=chaos", `--wsrep-cluster-address=gcomm://${all}`],
  ...[`--wsrep-node-address=127.0.0.1:${group}`, "--wsrep-sst-method=rsync"],
  `--wsrep-sst-receive-address=127.0.0.1:${state}`,
  `--wsrep-provider-options=base_port=${group};gmcast.listen_addr=tcp://127.0.0.1:${group};ist.recv_addr=127.0.0.1:${incremental};gcache.size=64M`
]

const faultsOf =
  (nodes: ReadonlyArray<GaleraNode>, move: (proxy: Proxy) => void, current: () => GaleraNode) =>
  (proxy: Proxy): ReadonlyArray<Fault> => [
    {
      kind: "galera node SIGKILL",
      parts: ["sql", "sql network"],
      lasts: [500, 3_000],
      begin: async () => {
        const node = current()
        await node.end("SIGKILL")
        move(proxy)
        return () => node.start([])
      }
    },
    {
      kind: "galera node SIGSTOP",
      parts: ["sql", "sql network"],
      lasts: [500, 8_000],
      begin: async () => {
        const node = current()
        node.child!.kill("SIGSTOP")
        move(proxy)
        return async () => {
          node.child!.kill("SIGCONT")
          await node.synced()
        }
      }
    },
    {
      kind: "galera another node SIGKILL",
      parts: ["sql"],
      lasts: [500, 3_000],
      begin: async () => {
        const node = nodes.find((one) => one !== current())!
        await node.end("SIGKILL")
        return () => node.start([])
      }
    },
    {
      kind: "galera balancer moves",
      parts: ["sql", "sql network"],
      lasts: [0, 500],
      begin: async () => {
        move(proxy)
        return () => {}
      }
    }
  ]

export const startGalera = async (): Promise<Galera> => {
  if (!existsSync(provider)) throw new Error("no Galera here: apt-get install mariadb-server galera-4 rsync")
  const directory = mkdtempSync(join(tmpdir(), "sync-engine-galera-"))
  // What rsync copies is read and written by a user who is not root.
  chmodSync(directory, 0o755)
  const folders = await installed(directory)
  const all = folders.map(({ ports }) => `127.0.0.1:${ports[1]}`).join(",")
  const nodes = folders.map(
    (node) => new GaleraNode(node.ports[0]!, node.directory, argsOf(node.directory, node.ports, all))
  )
  const init = join(directory, "init.sql")
  writeFileSync(
    init,
    `CREATE USER tester@'127.0.0.1' IDENTIFIED BY '${mysqlPassword}';\nGRANT ALL PRIVILEGES ON *.* TO tester@'127.0.0.1' WITH GRANT OPTION;\n`
  )
  const pids = () => nodes.flatMap(({ child }) => child?.pid ?? [])
  const stop = async () => {
    for (const node of nodes) await node.end("SIGKILL")
    rmSync(directory, { recursive: true, force: true })
  }
  try {
    await nodes[0]!.start(["--wsrep-new-cluster", `--init-file=${init}`])
    for (const node of nodes.slice(1)) await node.start([])
  } catch (error) {
    await stop()
    throw error
  }
  let at = 0
  const current = () => nodes[at]!
  const move = (proxy: Proxy) => {
    at = (at + 1) % nodes.length
    proxy.leadTo(current().port)
  }
  return {
    faults: faultsOf(nodes, move, current),
    pids,
    server: {
      get url() {
        return current().url
      },
      get port() {
        return current().port
      },
      get pid() {
        return current().child!.pid!
      },
      restart: () => current().start([]),
      stop
    }
  }
}
