/** Which errors are allowed when. */
import { Cause } from "effect"
import type { EngineError } from "../../src/EngineError.js"
import type { Call } from "./Call.js"
import * as Checks from "./Checks.js"
import type { Life } from "./Life.js"
import { refusalKey } from "./WayToArchive.js"
import type { World } from "./World.js"
/** Every error needs a reason that was there during the call. */
export const checkError = (world: World, life: Life, call: Call, error: EngineError): void => {
  const { disk, settings, violations } = world
  const name = `#${call.number} (${call.text})`
  const unfounded = (why: string) =>
    violations.report(`${name} failed without a reason: ${error.message} (${why})`)
  const { phase } = life.lifecycle.unsafeSnapshot()
  switch (error._tag) {
    case "TierUnavailable":
      if (settings.hasArchive && !Checks.archiveTrouble(world, call) && !flushWasSlow(world, life, call))
        unfounded("the archive had no trouble")
      return
    case "LogUnavailable":
      if (!Checks.logTrouble(world, call) && phase !== "shutting_down" && phase !== "stopped")
        unfounded("the log had no trouble")
      return
    case "GateClosed": {
      const open = error.operation === "write" ? phase === "ready" : phase === "ready" || phase === "draining"
      if (open && call.start.phase !== "starting") unfounded(`phase ${phase}`)
      else if (!open && phase !== "starting" && !wasClosed(world)) unfounded("nobody asked for its end")
      return
    }
    case "ReadOnly":
      if (!call.start.readOnly && !world.faults.since(call.start.mark, world.name, "read-only"))
        unfounded("not read-only")
      return
    case "Backpressure":
    case "LogFull":
      if (!settings.smallLog) unfounded(`the log holds ${disk.entries.length}`)
      return
    case "VersionConflict":
      // Another node may have written something newer, and this one something else since.
      if (error.current < error.submitted || (call.intent?.own === undefined && !world.sharesArchive))
        unfounded("no newer version")
      return
    case "VersionMismatch":
      if (call.intent?.expected === undefined && call.intent?.setsState === undefined)
        unfounded("no comparison")
      else if (error.actual === error.expected && error.expected !== 0) unfounded("as expected")
      // What it tells is a read.
      else if (error.actual === 0) Checks.checkAbsent(world, call, error.id)
      else {
        const holds = Checks.sometimes(world, call, error.id, (record) => record?.version === error.actual)
        if (!holds && !Checks.mayBeLogged(world, call, error.id)) unfounded("never that version")
      }
      return
    case "ItemRejected":
      violations.require(
        [...world.model.versionsOf(error.id)].some(
          (version) =>
            version.version === error.version &&
            version.records.some((record) => world.refused.has(refusalKey(record)))
        ),
        () => `${name} was rejected, but the archive never refused it: ${error.message}`
      )
      return
    default:
      unfounded("never allowed here")
  }
}

/** Somebody has asked for the end of this life, or for what comes before; or its start has failed. */
const wasClosed = ({ faults, name }: World): boolean => {
  const begun = faults.lastMark(name, "start")
  return (
    faults.since(begun, name, "drain", "shutdown") ||
    (!faults.since(begun, name, "ready") && faults.since(begun, name, "log", "archive"))
  )
}

/** How long a call may take by itself: what waits for a batch, a backpressure's pause, a duty's round. */
const usualMs = 1500
/** And for what has failed and is tried again, with growing pauses. */
const againMs = 5000

/** A call that took long is explained by what took its time, or failed, meanwhile. */
export const checkTime = (world: World, call: Call): void => {
  const { faults, name, turns, violations } = world
  const took = turns.now - call.start.ms
  if (took <= usualMs) return
  const slow = faults.lasted(
    call.start.ms,
    name,
    "archive slow",
    "commit slow",
    "log slow",
    "cache slow",
    "pause"
  )
  const failed = faults.last(name, "archive", "held", "log", "cache") >= call.start.ms - againMs
  violations.require(
    took <= usualMs + slow + (failed ? againMs : 0),
    () => `#${call.number} (${call.text}) took ${took} ms, of which ${slow} ms are explained`
  )
}

/** The archive took most of `FLUSH_TIMEOUT` for the commits that the call had to wait for. */
const flushWasSlow = (world: World, life: Life, call: Call): boolean => {
  const { flushTimeout } = life.config()
  return (
    world.turns.now - call.start.ms >= flushTimeout &&
    world.faults.lasted(call.start.ms, world.name, "commit slow") >= flushTimeout / 2
  )
}

export const checkCause = (world: World, life: Life, call: Call, cause: Cause.Cause<unknown>): void => {
  if (Cause.isInterruptedOnly(cause)) {
    world.violations.require(
      call.interrupted,
      () => `#${call.number} (${call.text}) was interrupted by nobody`
    )
    return
  }
  if (cause._tag === "Fail") {
    checkError(world, life, call, cause.error as EngineError)
    return
  }
  world.violations.report(`#${call.number} (${call.text}) died: ${Cause.pretty(cause)}`)
}
