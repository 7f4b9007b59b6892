/** Phase 2: SQL is connected, migrated, and found to be the archive that the log belongs to. */
import { type Context, Duration, Effect, Option, Schedule, type Scope } from "effect"
import { Archive, type OpenArchive } from "../../archive/Archive.js"
import type { ArchiveStartError } from "../../EngineError.js"
import { backoff } from "../../shared/Backoff.js"
import { EngineRuntime } from "../background/EngineRuntime.js"
import { bind } from "../state/ArchiveBinding.js"
import * as Conditions from "../state/Conditions.js"
import type { EngineState } from "../state/EngineState.js"
import { LogOpened, phase } from "./Phases.js"

type Runtime = Pick<Context.Tag.Service<EngineRuntime>, "core" | "filterMaintenance" | "shutdown">

export const connectArchive = Effect.gen(function* () {
  const runtime = yield* EngineRuntime
  const { core } = runtime
  const { open } = yield* Archive
  if (open === undefined) {
    core.degradations.begin("archive", "no SQL is configured: the engine runs without ground truth")
    yield* Effect.logWarning("no SQL is configured: writes stay in the log, and absence cannot be proven")
    return Option.none<OpenArchive>()
  }
  const giveUpAtMs = core.elapsedMs() + core.config().sqlStartTimeout
  let said: string | undefined
  const archive = yield* connect(runtime, open).pipe(
    Effect.tapError(({ advice, problem }) => {
      // No second attempt is made: the start says so itself.
      if (advice !== undefined || problem === said) return Effect.void
      said = problem
      return Effect.logWarning(`SQL is not there yet: ${problem}`)
    }),
    Effect.retry({
      schedule: startPauses(() => giveUpAtMs - core.elapsedMs()),
      while: ({ advice }) => advice === undefined && core.elapsedMs() < giveUpAtMs
    })
  )
  return Option.some(archive)
}).pipe(phase("Connecting", "sql_connect"))

/**
 * Decides about a start whose SQL is not connected: fatal, unless `START_WITHOUT_SQL` lets a log that knows its archive
 * take writes meanwhile. A server that refuses is fatal always.
 */
export const orTakeWritesOnly = Effect.fnUntraced(function* (error: ArchiveStartError) {
  const { core } = yield* EngineRuntime
  const log = yield* LogOpened
  const { kind, problem } = error
  const mayWait = kind === "unreachable" && core.config().startWithoutSql && log.binding() !== undefined
  if (!mayWait) return yield* error
  core.gate.awaitsArchive = true
  const said = `starting without SQL: writes go into the log, and nothing can be read: ${problem}`
  yield* Conditions.begins(core, "archive", `SQL is unreachable: ${problem}`, said)
  yield* core.lifecycle.setWritesOnly(true)
  return Option.none<OpenArchive>()
})

/** One attempt to connect the archive that the log belongs to; a failed one leaves nothing behind. */
const connect = (
  { core, filterMaintenance, shutdown }: Runtime,
  open: Effect.Effect<OpenArchive, ArchiveStartError, Scope.Scope>
): Effect.Effect<OpenArchive, ArchiveStartError> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const attempt = Effect.tap(open, (archive) => bind(core, archive))
      const archive = yield* restore(shutdown.open("closing the archive", attempt))
      core.connectArchive(core.filter?.guard(archive) ?? archive)
      yield* restore(filterMaintenance.join)
      return archive
    })
  )

/**
 * Connects the archive that a start did without. Writes were taken in on trust of the log's binding: when it is
 * another archive that is there, nothing more is taken in.
 */
export const connectLater = Effect.fnUntraced(function* (runtime: Runtime, { open }: Archive["Type"]) {
  const { core } = runtime
  if (!core.gate.awaitsArchive || open === undefined) return
  yield* Effect.tapError(connect(runtime, open), (error) => noteRefusal(core, error))
  core.gate.awaitsArchive = false
  core.gate.wrongArchive = undefined
  yield* core.lifecycle.setWritesOnly(false)
})

const noteRefusal = (core: EngineState, { kind, problem }: ArchiveStartError): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (kind !== "refused") return Effect.void
    const isNews = core.gate.wrongArchive === undefined
    core.gate.wrongArchive = problem
    core.degradations.begin("archive", problem)
    return isNews ? Effect.logError(`no more writes are taken: ${problem}`) : Effect.void
  })

/** No pause outlasts the bound on the start: the last attempt is made when it is over. */
const startPauses = (leftMs: () => number) =>
  Schedule.modifyDelay(backoff("200 millis", "5 seconds"), (_, pause) =>
    Duration.min(pause, Duration.millis(Math.max(0, Math.ceil(leftMs()))))
  )
