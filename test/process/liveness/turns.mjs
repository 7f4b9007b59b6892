// Loaded into the daemon (`--import`): what one turn of its event loop costs, in processor time, so that a machine
// with other work on it measures the same. Written to LIVENESS_TURNS every second.
import { openSync, readSync, writeFileSync } from "node:fs"
import { isMainThread } from "node:worker_threads"

const path = process.env.LIVENESS_TURNS
if (isMainThread && path !== undefined && process.platform === "linux") {
  const file = openSync(`/proc/self/task/${process.pid}/schedstat`, "r")
  const buffer = Buffer.alloc(64)
  const processorMs = () =>
    Number(buffer.toString("latin1", 0, readSync(file, buffer, 0, 64, 0)).split(" ")[0]) / 1e6
  const turns = []
  let last = processorMs()
  const turn = () => {
    const now = processorMs()
    turns.push(now - last)
    last = now
    setImmediate(turn).unref()
  }
  // What is compiled and opened at the start is no turn under load.
  setTimeout(() => {
    last = processorMs()
    turn()
  }, 3000).unref()
  setInterval(() => {
    const sorted = turns.toSorted((a, b) => a - b)
    const busy = sorted.reduce((sum, ms) => sum + ms, 0)
    const above = (bound) => sorted.reduce((sum, ms) => sum + (ms > bound ? ms : 0), 0) / busy
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
    const figures = {
      turns: sorted.length,
      busyMs: busy,
      p50: at(0.5),
      p99: at(0.99),
      max: at(1),
      shareAbove25: above(25),
      shareAbove50: above(50)
    }
    const rounded = Object.entries(figures).map(([name, value]) => [name, Math.round(value * 1000) / 1000])
    writeFileSync(path, JSON.stringify(Object.fromEntries(rounded)))
  }, 1000).unref()
}
