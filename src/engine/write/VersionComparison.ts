/**
 * Comparing callers' own versions with the archive's before they are acknowledged. Whoever asks while a question is
 * under way shares the next one.
 */
import { Array as Arr, Deferred, Effect, FiberId } from "effect"
import type { ItemVersion } from "../../SyncItem.js"
import { idProblem } from "../../SyncItem.js"
import type { EngineState } from "../state/EngineState.js"
import type { Watch } from "../state/Watching.js"
import { touchedMeanwhile } from "../state/Watching.js"

/** What the archive has said about an id. */
export interface Asked {
  /** None: it has no row, not even a tombstone. */
  readonly head: ItemVersion | undefined
  /** Dirty: a write of the id has become visible since. */
  readonly watch: Watch
  /** The filter has proven absence, and the archive could not say whether there is a tombstone. */
  readonly byFilter?: true
}

type Heads = ReadonlyMap<string, ItemVersion> | undefined

interface Question {
  readonly ids: Set<string>
  readonly answer: Deferred.Deferred<Heads>
}

/** An archive that is slow must not hold up a write for longer: the flush compares anyway. */
const patience = "2 seconds"

export class VersionComparison {
  private next: Question | undefined
  private asking = false

  constructor(private readonly core: EngineState) {}

  /** Whether only the archive can say if an own version of this id is the newest, and it can be asked now. Synchronous. */
  isNeeded(id: string): boolean {
    const { core } = this
    if (core.tiers?.archive === undefined || core.degradations.has("archive")) return false
    if (idProblem(id) !== undefined) return false
    const known = core.versions.newest(id)
    return known === undefined || core.versions.isUnchecked(known) || !core.writer.isCertain()
  }

  /** Runs `use` with what the archive says about these ids; with nothing when it cannot say. */
  around<A, E>(
    ids: Iterable<string>,
    use: (asked: ReadonlyMap<string, Asked>) => Effect.Effect<A, E>
  ): Effect.Effect<A, E> {
    return touchedMeanwhile(this.core, ids, (watches) =>
      Effect.flatMap(this.ask(watches.keys()), (found) => {
        const asked = new Map<string, Asked>()
        if (found !== undefined) {
          for (const [id, watch] of watches) asked.set(id, { head: found.get(id), watch })
        }
        return use(asked)
      })
    )
  }

  private ask(ids: Iterable<string>): Effect.Effect<Heads> {
    return Effect.suspend(() => {
      this.next ??= { ids: new Set(), answer: Deferred.unsafeMake(FiberId.none) }
      for (const id of ids) this.next.ids.add(id)
      const answered = Deferred.await(this.next.answer)
      if (this.asking) return answered
      this.asking = true
      // The yield lets the other writers of this turn join.
      return Effect.yieldNow().pipe(
        Effect.zipRight(this.answer),
        Effect.forkIn(this.core.detached),
        Effect.uninterruptible,
        Effect.zipRight(answered)
      )
    })
  }

  private readonly answer: Effect.Effect<void> = Effect.suspend(() => {
    const question = this.next
    this.next = undefined
    if (question === undefined) {
      this.asking = false
      return Effect.void
    }
    // Also when it is interrupted: somebody may wait for the next question already.
    return Effect.exit(this.heads([...question.ids])).pipe(
      Effect.flatMap((exit) =>
        Deferred.succeed(question.answer, exit._tag === "Success" ? exit.value : undefined)
      ),
      Effect.zipRight(this.answer)
    )
  })

  private heads(ids: ReadonlyArray<string>): Effect.Effect<Heads> {
    const { core } = this
    const archive = core.tiers?.archive
    if (archive === undefined) return Effect.succeed(undefined)
    return Effect.forEach(Arr.chunksOf(ids, core.limits.idsPerQuery), (chunk) => archive.heads(chunk)).pipe(
      Effect.map((parts): Heads => new Map(parts.flat().map((head) => [head.id, head]))),
      Effect.catchAll(() => Effect.succeed(undefined)),
      // The time counts also where an archive does not let itself be interrupted.
      Effect.interruptible,
      Effect.disconnect,
      Effect.timeoutTo({ duration: patience, onTimeout: () => undefined, onSuccess: (found) => found }),
      Effect.interruptible
    )
  }
}
