/**
 * What does not work just now, told once when it begins and once when it ends, for the whole engine: everybody who
 * meets a condition says so here, and only the first is heard. Each also shows in the engine's health meanwhile.
 */
import { Cause, Effect } from "effect"
import type { ArchiveError } from "../../archive/ArchiveError.js"
import type { LogUnavailable } from "../../EngineError.js"
import { TierUnavailable } from "../../EngineError.js"
import type { Degradation } from "../../SyncEngineModels.js"

type Component = Degradation["component"]

export class Degradations {
  private readonly known = new Map<Component, Degradation>()
  /** Why the log takes no writes, since one failed and until a probe succeeds. */
  logRefusal: LogUnavailable | undefined

  constructor(private readonly nowMs: () => number) {}

  get all(): ReadonlyArray<Degradation> {
    return [...this.known.values()]
  }

  has(component: Component): boolean {
    return this.known.has(component)
  }

  /** Whether that is news. */
  begin(component: Component, reason: string): boolean {
    const known = this.known.get(component)
    if (known?.reason === reason) return false
    this.known.set(component, { component, reason, since: known?.since ?? this.nowMs() })
    return known === undefined
  }

  /** Whether that is news. */
  end(component: Component): boolean {
    // That the log can be read again does not say that it takes writes.
    if (component === "log" && this.logRefusal !== undefined) return false
    return this.known.delete(component)
  }

  /** The log takes no writes: the node says so, and refuses them at the gate, until {@link logTakesWrites}. */
  logRefuses(error: LogUnavailable): void {
    this.logRefusal = error
    this.begin("log", error.message)
  }

  /** A probe has succeeded. */
  logTakesWrites(): void {
    if (this.logRefusal === undefined) return
    this.logRefusal = undefined
    this.end("log")
  }
}

interface Degradable {
  readonly degradations: Degradations
}

/** A component does not work as configured: a warning when that is news. */
export const begins = (
  { degradations }: Degradable,
  component: Component,
  reason: string,
  said = reason
): Effect.Effect<void> =>
  Effect.suspend(() =>
    degradations.begin(component, reason) ? Effect.logWarning(said) : Effect.logDebug(`still: ${said}`)
  )

/** It works again: a line when that is news. */
export const ends = ({ degradations }: Degradable, component: Component, said: string): Effect.Effect<void> =>
  Effect.suspend(() => (degradations.end(component) ? Effect.logInfo(said) : Effect.void))

const expected =
  /^(ArchiveError|ArchiveStartError|CacheError|GateClosed|LogUnavailable|RebuildLater|TierUnavailable)$/

/** What went wrong, when it is a failure that operation brings with it and no fault of the program. */
export const expectedProblem = (cause: Cause.Cause<unknown>): string | undefined => {
  if (Cause.isInterruptedOnly(cause)) return "it was interrupted"
  // A defect beside a failure is still a defect.
  if (Cause.defects(cause).length > 0) return undefined
  const error = Cause.squash(cause)
  return error instanceof Error && "_tag" in error && expected.test(String(error._tag))
    ? error.message
    : undefined
}

export const archiveFailed = (operation: string, problem: string): TierUnavailable =>
  new TierUnavailable({ tier: "archive", operation, problem, retryAfterMs: 1000 })

/** An archive's failure as its readers see it. */
export const archiveUnavailable = (operation: string) => (error: ArchiveError) =>
  archiveFailed(operation, error.problem)

/** There is none to ask; `consequence` goes on with the sentence. */
export const noArchive = (operation: string, consequence = ""): TierUnavailable =>
  archiveFailed(operation, `no archive is configured or connected${consequence}`)
