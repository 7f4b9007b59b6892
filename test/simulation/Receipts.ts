/** What a receipt may say. */
import type { Receipt, SubmitResult } from "../../src/SyncEngineApi.js"
import { isAtLeast } from "../../src/SyncItem.js"
import type { Call } from "./Call.js"
import { archiveTrouble, logTrouble } from "./Checks.js"
import { checkError } from "./Errors.js"
import type { Life } from "./Life.js"
import { headText } from "./Model.js"
import type { World } from "./World.js"
export const checkReceipt = (world: World, call: Call, receipt: Receipt): void => {
  const { archive, model, violations } = world
  const name = `#${call.number} (${call.text}) got a receipt for ${receipt.id} ${receipt.version}`
  const asked = call.intent?.durability ?? "wal"
  const version = call.appended.find(
    (one) =>
      one.id === receipt.id && one.version === receipt.version && one.contentHash === receipt.contentHash
  )
  if (version === undefined) {
    violations.report(`${name}, which it never handed to the log`)
    return
  }
  violations.require(
    receipt.previousVersion === undefined || receipt.previousVersion <= receipt.version,
    () => `${name}, which replaced the higher ${receipt.previousVersion}`
  )
  if (receipt.durability === "memory") {
    violations.require(asked === "memory", () => `${name} at memory, but asked for ${asked}`)
    model.acknowledgedEarly(version)
    return
  }
  violations.require(
    version.committed,
    () => `${name} at ${receipt.durability}, but the log has not committed it`
  )
  version.acknowledged = true
  const wasPutAside = version.putAside
  if (receipt.durability === "archive") {
    const stored = archive.records.get(receipt.id)
    violations.require(
      asked === "archive" && !wasPutAside && stored !== undefined && isAtLeast(stored, version),
      () => `${name} at archive (asked for ${asked}), but the archive holds ${headText(stored)}`
    )
  } else {
    violations.require(
      asked === "wal" || (asked === "archive" && mayBeUnarchived(world, call)),
      () => `${name} at wal, but asked for ${asked}`
    )
  }
}

/** A writer that waits for the archive may be told that only the log has its write. */
const mayBeUnarchived = (world: World, call: Call): boolean =>
  !world.settings.hasArchive ||
  archiveTrouble(world, call) ||
  logTrouble(world, call) ||
  world.backingOff ||
  world.flushTimeIsOver

export const checkResults = (
  world: World,
  life: Life,
  call: Call,
  results: ReadonlyArray<SubmitResult>,
  ids: ReadonlyArray<string>
): void => {
  world.violations.require(
    results.length === ids.length &&
      results.every(
        (result, index) => (result._tag === "Rejected" ? result.id : result.receipt.id) === ids[index]
      ),
    () => `#${call.number} (${call.text}) answered other ids than it was given`
  )
  for (const result of results) {
    if (result._tag === "Acknowledged") checkReceipt(world, call, result.receipt)
    else checkError(world, life, call, result.error)
  }
}
