/** Compiles the writer and keeps processes of it ready: loading modules is not what is to be killed. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"
import type { Life, Moment } from "./Life.js"

const root = fileURLToPath(new URL("../../..", import.meta.url))

/** One writer process. */
export interface Writer {
  readonly process: ChildProcess
  /** What it has told so far, besides that it is loaded. */
  readonly moments: Array<Moment>
  readonly errors: () => string
}

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly errors: string
}

export interface Writers {
  /** Runs a life to its end; `onMoment` may kill it. */
  readonly run: (life: Life, onMoment: (moment: Moment, kill: () => void) => void) => Promise<Ended>
  readonly stop: () => Promise<void>
}

/** The writer with all that it needs in one file, except what is native or loads its own files: dozens are started. */
const compileWriter = async (directory: string): Promise<string> => {
  const outfile = join(directory, "Writer.mjs")
  const { dependencies, imports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
  await build({
    absWorkingDir: root,
    entryPoints: ["test/process/durability/Writer.ts"],
    outfile,
    bundle: true,
    external: Object.keys(dependencies).filter((name) => !name.startsWith("@effect/")),
    format: "esm",
    platform: "node",
    target: "node20",
    logLevel: "error",
    // For CommonJS that is bundled in and asks for Node's own modules.
    banner: {
      js: 'import { createRequire as requireFrom } from "node:module"; const require = requireFrom(import.meta.url);'
    }
  })
  // So that it finds the very packages and threads that the package does.
  writeFileSync(join(directory, "package.json"), JSON.stringify({ imports }))
  for (const name of ["node_modules", "dist"]) symlinkSync(join(root, name), join(directory, name))
  return outfile
}

const ended = (child: ChildProcess): Promise<void> =>
  child.exitCode !== null || child.signalCode !== null
    ? Promise.resolve()
    : new Promise((resolve) => child.once("exit", () => resolve()))

/** @param reserve processes that are loaded ahead */
export const startWriters = async (reserve: number): Promise<Writers> => {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), "sync-engine-writer-")))
  const file = await compileWriter(directory)
  const all = new Set<ChildProcess>()
  const ready: Array<Promise<Writer>> = []

  const start = (): Promise<Writer> =>
    new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [file], {
        cwd: dirname(file),
        stdio: ["ignore", "ignore", "pipe", "ipc"]
      })
      all.add(child)
      let errors = ""
      child.stderr!.on("data", (data) => {
        errors = (errors + String(data)).slice(-8_000)
      })
      const onExit = () => {
        all.delete(child)
        reject(new Error(`a writer ended before it was loaded:\n${errors}`))
      }
      child.once("exit", onExit)
      child.once("message", () => {
        child.off("exit", onExit)
        child.once("exit", () => all.delete(child))
        resolve({ process: child, moments: [], errors: () => errors })
      })
    })

  const prepare = () => {
    const writer = start()
    // Told when it is taken.
    writer.catch(() => {})
    ready.push(writer)
  }
  for (let index = 0; index < reserve; index++) prepare()

  return {
    run: async (life, onMoment) => {
      prepare()
      const writer = await ready.shift()!
      const child = writer.process
      const kill = () => {
        child.kill("SIGKILL")
      }
      child.on("message", (message) => onMoment(message as Moment, kill))
      child.send(life)
      await new Promise<void>((resolve) => child.once("close", () => resolve()))
      return { code: child.exitCode, signal: child.signalCode, errors: writer.errors() }
    },
    stop: async () => {
      for (const child of all) child.kill("SIGKILL")
      await Promise.all([...all].map(ended))
      rmSync(directory, { recursive: true, force: true })
    }
  }
}
