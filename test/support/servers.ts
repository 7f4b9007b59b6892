/**
 * MariaDB (or MySQL) and Redis for the tests: found on this machine, or installed with apt-get when that is
 * possible, and started as private instances on free ports, in directories of their own. Own servers can be
 * named instead with SYNC_ENGINE_TEST_MYSQL_URL and SYNC_ENGINE_TEST_REDIS_URL.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { accessSync, constants, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { connect, createServer } from "node:net"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import type { TestProject } from "vitest/node"

declare module "vitest" {
  export interface ProvidedContext {
    /** A user that may create databases; the path names an existing one. */
    mysqlUrl: string
    mysqlPort: number
    redisUrl: string
    redisPort: number
  }
}

/** A server started by these tests. */
export interface RunningServer {
  readonly url: string
  readonly port: number
  /** For signals; SIGSTOP and SIGKILL are what outages are made of. */
  readonly pid: number
  /** Starts again, on the same port and data, after it was killed. */
  readonly restart: () => Promise<void>
  /** Ends it and removes its directory. */
  readonly stop: () => Promise<void>
}

const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin", "/usr/libexec"]

const find = (...names: ReadonlyArray<string>): string | undefined => {
  for (const name of names) {
    for (const folder of folders) {
      try {
        accessSync(join(folder, name), constants.X_OK)
        return join(folder, name)
      } catch {}
    }
  }
  return undefined
}

const isRoot = process.getuid?.() === 0

const install = (names: ReadonlyArray<string>): void => {
  const instructions =
    `the integration tests need ${names.join(" and ")}: install them (for example: ` +
    `sudo apt-get install ${names.join(" ")}), or name running servers with ` +
    "SYNC_ENGINE_TEST_MYSQL_URL=mysql://user:password@host:3306/database (the user must be allowed to create " +
    "databases) and SYNC_ENGINE_TEST_REDIS_URL=redis://host:6379"
  if (!isRoot || find("apt-get") === undefined) throw new Error(instructions)
  try {
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" }
    execFileSync("apt-get", ["update"], { env, stdio: "ignore" })
    execFileSync("apt-get", ["install", "-y", "--no-install-recommends", ...names], { env, stdio: "ignore" })
  } catch (cause) {
    throw new Error(`apt-get could not install them; ${instructions}`, { cause })
  }
}

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve((address as { port: number }).port))
    })
  })

// Ready is who says something first (MariaDB), or answers a PING (Redis).
const answers = (port: number, question: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1")
    const end = (answer: boolean) => () => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(2_000, end(false))
    socket.once("error", end(false))
    socket.once("close", end(false))
    socket.once("connect", () => question !== "" && socket.write(question))
    socket.once("data", end(true))
  })

const ended = (child: ChildProcess): Promise<void> =>
  child.exitCode !== null || child.signalCode !== null
    ? Promise.resolve()
    : new Promise((resolve) => child.once("exit", () => resolve()))

const serve = async (options: {
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly directory: string
  readonly port: number
  readonly question: string
  readonly url: string
}): Promise<RunningServer> => {
  const logFile = join(options.directory, "server.log")
  let child: ChildProcess

  const start = async (): Promise<void> => {
    const log = openSync(logFile, "a")
    child = spawn(options.command, options.args, { stdio: ["ignore", log, log] })
    for (let i = 0; i < 600; i++) {
      if (child.exitCode !== null) break
      if (await answers(options.port, options.question)) return
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    child.kill("SIGKILL")
    throw new Error(`${options.command} did not start:\n${readFileSync(logFile, "utf8").slice(-4_000)}`)
  }

  await start()
  return {
    url: options.url,
    port: options.port,
    get pid() {
      return child.pid!
    },
    restart: async () => {
      await ended(child)
      await start()
    },
    stop: async () => {
      child.kill("SIGCONT")
      child.kill("SIGTERM")
      const timer = setTimeout(() => child.kill("SIGKILL"), 15_000)
      await ended(child)
      clearTimeout(timer)
      rmSync(options.directory, { recursive: true, force: true })
    }
  }
}

/** The password of the test user; it holds what has to be encoded in a URL. */
export const mysqlPassword = "s3cr/t@p%ss:word"

/** Starts a MariaDB or MySQL server of one's own. */
export const startMysql = async (extra: ReadonlyArray<string> = []): Promise<RunningServer> => {
  // Another server than this machine's, named by its program.
  const named = process.env.SYNC_ENGINE_TEST_MYSQLD
  const command = named ?? find("mariadbd", "mysqld")!
  const directory = mkdtempSync(join(tmpdir(), "sync-engine-mysql-"))
  const data = join(directory, "data")
  const user = isRoot ? ["--user=root"] : []
  const installer = named === undefined ? find("mariadb-install-db", "mysql_install_db") : undefined
  if (installer === undefined) {
    execFileSync(command, ["--no-defaults", "--initialize-insecure", `--datadir=${data}`, ...user], {
      stdio: "ignore"
    })
  } else {
    const args = [
      "--no-defaults",
      `--datadir=${data}`,
      "--auth-root-authentication-method=normal",
      "--skip-test-db"
    ]
    execFileSync(installer, [...args, ...user], { stdio: "ignore" })
  }
  const init = join(directory, "init.sql")
  const statements = ["CREATE DATABASE IF NOT EXISTS sync_engine_test;"]
  for (const host of ["%", "localhost", "127.0.0.1"]) {
    statements.push(
      `CREATE USER IF NOT EXISTS 'tester'@'${host}' IDENTIFIED BY '${mysqlPassword}';`,
      `GRANT ALL PRIVILEGES ON *.* TO 'tester'@'${host}' WITH GRANT OPTION;`
    )
  }
  writeFileSync(init, `${statements.join("\n")}\n`)
  const port = await freePort()
  return serve({
    command,
    args: [
      "--no-defaults",
      `--datadir=${data}`,
      `--socket=${join(directory, "socket")}`,
      `--pid-file=${join(directory, "pid")}`,
      `--port=${port}`,
      "--bind-address=127.0.0.1",
      `--init-file=${init}`,
      "--innodb-buffer-pool-size=128M",
      ...user,
      ...extra
    ],
    directory,
    port,
    question: "",
    url: `mysql://tester:${encodeURIComponent(mysqlPassword)}@127.0.0.1:${port}/sync_engine_test`
  })
}

/** Starts a Redis server of one's own, without persistence unless `extra` asks for it. */
export const startRedis = async (extra: ReadonlyArray<string> = []): Promise<RunningServer> => {
  const directory = mkdtempSync(join(tmpdir(), "sync-engine-redis-"))
  const port = await freePort()
  return serve({
    command: find("redis-server", "valkey-server")!,
    args: ["--port", String(port), "--bind", "127.0.0.1", "--dir", directory, "--save", "", ...extra],
    directory,
    port,
    question: "PING\r\n",
    url: `redis://127.0.0.1:${port}`
  })
}

/** Makes sure that the servers' programs are there; fails with instructions otherwise. */
export const requireServers = (needs: { readonly mysql: boolean; readonly redis: boolean }): void => {
  const missing = [
    ...(needs.mysql && find("mariadbd", "mysqld") === undefined ? ["mariadb-server"] : []),
    ...(needs.redis && find("redis-server", "valkey-server") === undefined ? ["redis-server"] : [])
  ]
  if (missing.length > 0) install(missing)
}

const portOf = (url: string, otherwise: number): number => Number(new URL(url).port || otherwise)

/** Vitest's global setup of the projects that talk to servers. */
export default async function servers(project: TestProject): Promise<() => Promise<void>> {
  const mysqlUrl = process.env.SYNC_ENGINE_TEST_MYSQL_URL
  const redisUrl = process.env.SYNC_ENGINE_TEST_REDIS_URL
  const started: Array<RunningServer> = []
  const stopAll = async () => {
    await Promise.all(started.map((server) => server.stop()))
  }
  try {
    requireServers({ mysql: mysqlUrl === undefined, redis: redisUrl === undefined })
    const mysql = mysqlUrl === undefined ? await startMysql() : undefined
    if (mysql !== undefined) started.push(mysql)
    const redis = redisUrl === undefined ? await startRedis() : undefined
    if (redis !== undefined) started.push(redis)
    project.provide("mysqlUrl", mysqlUrl ?? mysql!.url)
    project.provide("mysqlPort", mysql?.port ?? portOf(mysqlUrl!, 3306))
    project.provide("redisUrl", redisUrl ?? redis!.url)
    project.provide("redisPort", redis?.port ?? portOf(redisUrl!, 6379))
  } catch (error) {
    await stopAll()
    throw error
  }
  return stopAll
}
