/** Private Redis servers for tests that kill, stop or restore one. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { connect, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"

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

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1")
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
  options: { readonly port?: number; readonly dir?: string; readonly args?: ReadonlyArray<string> } = {}
): Promise<RedisServer> => {
  const port = options.port ?? (await freePort())
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), "redis-test-"))
  const child = spawn(
    "redis-server",
    [
      ...["--port", String(port), "--bind", "127.0.0.1", "--dir", dir],
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
    if (await Promise.race([accepts(port), failed])) break
    if (tries > 200) throw new Error(`redis-server does not answer on port ${port}:\n${log}`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
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
