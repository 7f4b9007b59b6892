/** The engine's results as the bodies that travel, for the command, which shows them as such. */
import { Schema } from "effect"
import { isClean, type ShutdownReport } from "../../Lifecycle.js"
import type { EngineHealth, EngineStats, RepairResult, VerifyResult } from "../../SyncEngine.js"
import type { DeadLetter } from "../../wal/WriteAheadLog.js"
import * as S from "./ApiSchemas.js"

export const encodeStatus = Schema.encodeSync(S.StatusBody)
export const encodeFlushed = Schema.encodeSync(S.FlushBody)
export const encodeVerified = Schema.encodeSync(S.VerifyBody)
export const encodeRepaired = Schema.encodeSync(S.RepairBody)
export const encodeShutdown = Schema.encodeSync(S.ShutdownBody)
export const encodeDeadLetter = Schema.encodeSync(S.DeadLetterBody)

export const statusBody = (health: EngineHealth, stats: EngineStats) => encodeStatus({ health, stats })
export const verifyBody = (result: VerifyResult) => encodeVerified(S.verified(result))
export const repairBody = (result: RepairResult) => encodeRepaired(S.repaired(result))
export const shutdownBody = (report: ShutdownReport) => encodeShutdown({ ...report, clean: isClean(report) })
export const deadLetterBody = (letter: DeadLetter) => encodeDeadLetter(S.deadLetterRow(letter))
