/**
 * Operating the dead letters: list, put back, drop. Everything goes page by page, each bounded in letters and bytes.
 */
import { Effect, Either } from "effect"
import type { LogFull, LogUnavailable, WriteError } from "../../EngineError.js"
import type { ItemRecord } from "../../SyncItem.js"
import { counted } from "../../shared/Counted.js"
import type { Appended, DeadLetter } from "../../wal/WriteAheadLog.js"
import type { EngineState } from "../state/EngineState.js"
import { contentBytes } from "../state/InFlightWrites.js"
import { closedToWrites } from "../write/WriteGate.js"

/**
 * Writes that the archive has refused for good, beside the log.
 *
 * @since 0.1.0
 * @category services
 */
export interface DeadLettersApi {
  readonly list: (page?: {
    readonly after?: number | undefined
    readonly limit?: number | undefined
  }) => Effect.Effect<ReadonlyArray<DeadLetter>, LogUnavailable>
  /**
   * Puts letters back into the log (all of them without sequences); returns how many. What is older than
   * `TOMBSTONE_RETENTION` stays where it is: its item may have been deleted since, and the deletion forgotten.
   */
  readonly retry: (sequences?: ReadonlyArray<number>) => Effect.Effect<number, WriteError | LogUnavailable>
  readonly drop: (sequences?: ReadonlyArray<number>) => Effect.Effect<number, LogUnavailable>
}

const defaultLimit = 100
const maxLimit = 10_000

export const make = (core: EngineState, onCommitted: () => void): DeadLettersApi => {
  const list: DeadLettersApi["list"] = (page) =>
    Effect.suspend(() =>
      core.tiers === undefined
        ? Effect.succeed([])
        : core.log.deadLetters.list({
            after: page?.after ?? 0,
            limit: bounded(page?.limit ?? defaultLimit),
            maxBytes: core.limits.pageBytes
          })
    )

  /** Every letter with one of these sequence numbers (or all), page by page. */
  const selected = Effect.fnUntraced(function* <E>(
    sequences: ReadonlyArray<number> | undefined,
    each: (letters: ReadonlyArray<DeadLetter>) => Effect.Effect<number, E>
  ): Effect.fn.Return<number, E | LogUnavailable> {
    const wanted = sequences === undefined ? undefined : new Set(sequences)
    // What is refused again meanwhile becomes a letter once more, with a higher sequence number: it has had its turn.
    const last = core.tiers === undefined ? 0 : core.log.usage().committed
    let after = 0
    let done = 0
    for (;;) {
      const letters = yield* list({ after, limit: core.limits.lettersPerPage })
      if (letters.length === 0 || letters[0]!.sequence > last) return done
      after = letters[letters.length - 1]!.sequence
      const chosen = letters.filter(
        ({ sequence }) => sequence <= last && (wanted === undefined || wanted.has(sequence))
      )
      if (chosen.length > 0) done += yield* each(chosen)
    }
  })

  const remove = (letters: ReadonlyArray<DeadLetter>) =>
    core.log.deadLetters.remove(letters.map(({ sequence }) => sequence))

  return {
    list,
    // In the log first, then out of the letters: a crash in between repeats, and loses nothing.
    retry: (sequences) =>
      selected(sequences, (letters) => {
        const current = letters.filter(({ record }) => !isExpired(core, record))
        const putBack =
          current.length === 0
            ? Effect.succeed(0)
            : Effect.uninterruptible(Effect.zipRight(append(core, current, onCommitted), remove(current)))
        const expired = letters.length - current.length
        return expired === 0 ? putBack : Effect.zipLeft(putBack, Effect.logWarning(tooOld(expired)))
      }).pipe(Effect.withSpan("SyncEngine.deadLetters.retry")),
    drop: (sequences) => Effect.withSpan(selected(sequences, remove), "SyncEngine.deadLetters.drop")
  }
}

/** A deletion brings nothing back, however old it is. */
const isExpired = (core: EngineState, { deleted, updatedAt }: ItemRecord): boolean => {
  const { tombstoneRetention } = core.config()
  return !deleted && tombstoneRetention > 0 && updatedAt < core.nowMs() - tombstoneRetention
}

const tooOld = (count: number): string =>
  `${counted(count, "dead letter is", "dead letters are")} older than TOMBSTONE_RETENTION and not put back: what became of the items since may be forgotten; submit the contents again, or drop the letters`

/**
 * Into the log, as what the archive is to be asked about once more. Readers do not see it before the archive has
 * taken it: the letter may be older than what was acknowledged since.
 */
const append = (core: EngineState, letters: ReadonlyArray<DeadLetter>, onCommitted: () => void) =>
  Effect.async<void, WriteError>((resume) => {
    const refused = closedToWrites(core)
    if (refused !== undefined) return resume(Effect.fail(refused))
    const records = letters.map(({ record }) => record)
    core.filter?.beforeWrite(records)
    const committed = (result: Either.Either<Appended, LogFull | LogUnavailable>): void => {
      if (!core.appends.end(started)) return
      if (Either.isLeft(result)) {
        if (result.left._tag === "LogUnavailable") core.degradations.logRefuses(result.left)
        resume(Effect.fail(result.left))
        return
      }
      const { first } = result.right
      core.letters.add(first, records.length)
      core.tail.push(first, records)
      onCommitted()
      resume(Effect.void)
    }
    const started = core.appends.begin(records.length, contentBytes(records), (error) =>
      committed(Either.left(error))
    )
    // A log that is full of letters has room for them: they only move.
    core.log.unsafeAppend(records, committed, true)
  })

const bounded = (limit: number): number => Math.max(1, Math.min(maxLimit, Math.floor(limit) || defaultLimit))
