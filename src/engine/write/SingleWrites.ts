/**
 * Writes of one item: plain ones and compare-and-set. Gate, check, version and append of a call run in one synchronous
 * step, so nothing can come between them. A refusal tells of what readers may see: who would be refused only because of a
 * write whose commit is under way waits until that has landed, and is compared again.
 */
import { Effect } from "effect"
import type { WriteError } from "../../EngineError.js"
import { type InvalidItem, VersionMismatch } from "../../EngineError.js"
import type { Durability, Receipt } from "../../SyncEngineModels.js"
import type { ItemVersion } from "../../SyncItem.js"
import { idProblem } from "../../SyncItem.js"
import type { PointReads } from "../read/PointReads.js"
import type { EngineState } from "../state/EngineState.js"
import type { Prepared } from "../state/InFlightWrites.js"
import { newestOf } from "../state/KnownVersions.js"
import { touchedMeanwhile } from "../state/Watching.js"
import type { LogAppend } from "./LogAppend.js"
import type { Asked, VersionComparison } from "./VersionComparison.js"
import { refuse, writeGate } from "./WriteGate.js"
import { invalid, shownConflict } from "./WriteValidation.js"

/** What a compare-and-set compares with. */
export interface Expected {
  /** 0 for absent. */
  readonly version: number
  readonly contentHash: string | undefined
  /** The write brings its own version. */
  readonly isOwn: boolean
}

export interface SingleWrite {
  /** @param asked what the archive has just said about the id, if it was asked */
  readonly prepare: (asked?: Asked) => Prepared | WriteError
  readonly durability: Durability
  /** Why it is refused whatever the gate says. */
  readonly refusal: WriteError | undefined
}

/** Own versions are compared again when the id was written meanwhile, so often; then the receipt says that nobody could. */
const mostQuestions = 3

export class SingleWrites {
  constructor(
    private readonly core: EngineState,
    private readonly reads: PointReads,
    private readonly log: LogAppend,
    private readonly comparison: VersionComparison
  ) {}

  /** @param own the id, when the version is the caller's: it is compared with the archive's first */
  write(
    write: SingleWrite,
    own: string | undefined,
    asked?: Asked,
    attempts = 0
  ): Effect.Effect<Receipt, WriteError> {
    const { comparison, core } = this
    return Effect.async((resume) => {
      const refused = writeGate(core) ?? write.refusal
      if (refused !== undefined) return resume(refuse(refused))
      const isOpen = attempts === 0 || (asked?.watch.dirty === true && attempts < mostQuestions)
      if (own !== undefined && isOpen && comparison.isNeeded(own)) {
        return resume(
          comparison.around([own], (answers) => this.write(write, own, answers.get(own), attempts + 1))
        )
      }
      const ready = write.prepare(asked)
      if (ready._tag === "VersionConflict") {
        const conflict = shownConflict(core, ready, asked)
        return resume(
          conflict === undefined
            ? Effect.zipRight(core.inFlight.landed(ready.id), this.write(write, own))
            : refuse(conflict)
        )
      }
      if (ready._tag !== "Prepared") return resume(refuse(ready))
      this.append(ready, write.durability, resume)
    })
  }

  /** Writes when the current version is the expected one. */
  compareAndSet(
    id: string,
    expected: Expected,
    write: SingleWrite,
    asked?: Asked
  ): Effect.Effect<Receipt, WriteError> {
    const { core } = this
    return Effect.async((resume) => {
      const refused = writeGate(core) ?? write.refusal ?? expectationProblem(id, expected.version)
      if (refused !== undefined) return resume(refuse(refused))
      // While others may write, memory may be old: what counts is not archived yet, or the archive says it.
      const sole = core.writer.isCertain()
      const here = sole ? core.versions.newest(id) : core.versions.pending(id)
      const answer = asked?.watch.dirty === true ? undefined : asked
      // Nor may a version be the newest that nobody has compared with the archive's.
      const isNeeded = !sole || here === undefined || core.versions.isUnchecked(here)
      if (isNeeded && answer === undefined) return resume(this.ask(id, expected, write))
      // Also where it is not needed any more: memory need not have kept what was read, and a write may be on its way.
      const current = newestOf(answer?.head, here)
      if (!meets(current, expected)) {
        const shown = newestOf(answer?.head, sole ? core.versions.shown(id) : core.pending.get(id))
        // Where only a write on its way is known, what readers see is the archive's, or that write once it has landed.
        const isOpen = meets(shown, expected) || (shown === undefined && answer === undefined)
        if (isOpen) {
          return resume(Effect.zipRight(core.inFlight.landed(id), this.compareAndSet(id, expected, write)))
        }
        const actual = versionOf(shown)
        return resume(refuse(new VersionMismatch({ id, expected: expected.version, actual })))
      }
      const ready = write.prepare(asked)
      if (ready._tag !== "Prepared") return resume(refuse(ready))
      this.append({ ...ready, expected: expected.version }, write.durability, resume)
    })
  }

  private append(
    write: Prepared,
    durability: Durability,
    resume: (effect: Effect.Effect<Receipt, WriteError>) => void
  ): void {
    this.log.enqueue([write], durability, {
      set: (_, result) =>
        resume(result._tag === "Acknowledged" ? Effect.succeed(result.receipt) : Effect.fail(result.error)),
      done: () => {}
    })
  }

  private ask(id: string, expected: Expected, write: SingleWrite): Effect.Effect<Receipt, WriteError> {
    const { comparison, core, reads } = this
    return touchedMeanwhile(core, [id], (watches) =>
      Effect.flatMap(reads.fetchProven([id]), (records) => {
        const asked: Asked = { head: records.get(id), watch: watches.get(id)! }
        const then = (answer: Asked) => this.compareAndSet(id, expected, write, answer)
        if (asked.head !== undefined || !expected.isOwn) return then(asked)
        // A filter that proves absence knows of no tombstone, above which the caller's version has to be.
        const alone: Asked = { ...asked, byFilter: true }
        return comparison.isNeeded(id)
          ? comparison.around([id], (answers) => then(answers.get(id) ?? alone))
          : then(alone)
      })
    )
  }
}

/** 0 for absent. */
const versionOf = (current: ItemVersion | undefined): number =>
  current === undefined || current.deleted ? 0 : current.version

const meets = (current: ItemVersion | undefined, { contentHash, version }: Expected): boolean =>
  versionOf(current) === version && (contentHash === undefined || current?.contentHash === contentHash)

const expectationProblem = (id: string, expected: number): InvalidItem | undefined => {
  const problem = idProblem(id)
  if (problem !== undefined) return invalid(id, "id", problem)
  return Number.isSafeInteger(expected) && expected >= 0
    ? undefined
    : invalid(id, "expectedVersion", "must be a whole number from 0 (absent) upwards")
}
