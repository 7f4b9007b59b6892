/**
 * Operating the dead letters: list, put back, drop.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { LogUnavailable, WriteError } from "../EngineError.js"
import type { DeadLetter } from "../wal/WriteAheadLog.js"
import type { ArchiveWaiters } from "./ArchiveWaiters.js"
import type { EngineCore } from "./EngineCore.js"
import type { SyncEngineService } from "./EngineService.js"
import { enqueue, writeGate } from "./Intake.js"

const defaultLimit = 100
const maxLimit = 10_000

/** @since 0.1.0 @category constructors */
export const make = (
  core: EngineCore,
  waiters: ArchiveWaiters,
  onCommitted: () => void
): SyncEngineService["deadLetters"] => {
  const list: SyncEngineService["deadLetters"]["list"] = (page) =>
    Effect.suspend(() =>
      core.tiers === undefined
        ? Effect.succeed([])
        : core.log.deadLetters.list({ after: page?.after ?? 0, limit: bounded(page?.limit ?? defaultLimit) })
    )

  /** Every letter with one of these sequence numbers (or all), page by page. */
  const selected = <E>(
    sequences: ReadonlyArray<number> | undefined,
    each: (letters: ReadonlyArray<DeadLetter>) => Effect.Effect<number, E>
  ): Effect.Effect<number, E | LogUnavailable> =>
    Effect.gen(function* () {
      const wanted = sequences === undefined ? undefined : new Set(sequences)
      // What is refused again meanwhile becomes a letter anew, with a higher sequence number: it has had its turn.
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

  return {
    list,
    retry: (sequences) =>
      selected(sequences, (letters) =>
        Effect.suspend(() => {
          const refused = writeGate(core)
          if (refused !== undefined) return Effect.fail(refused)
          return Effect.async<void, WriteError>((resume) => {
            enqueue(
              core,
              waiters,
              letters.map(({ record }) => ({
                _tag: "Prepared",
                record,
                previousVersion: undefined,
                // The archive may have moved on since the letter was put aside.
                unchecked: true
              })),
              "wal",
              onCommitted,
              (results) => {
                const rejected = results.find((result) => result._tag === "Rejected")
                resume(rejected === undefined ? Effect.void : Effect.fail(rejected.error))
              }
            )
          }).pipe(
            // In the log first, then out of the letters: a crash in between repeats, and loses nothing.
            Effect.zipRight(core.log.deadLetters.remove(letters.map(({ sequence }) => sequence)))
          )
        })
      ),
    drop: (sequences) =>
      selected(sequences, (letters) => core.log.deadLetters.remove(letters.map(({ sequence }) => sequence)))
  }
}

const bounded = (limit: number): number => Math.max(1, Math.min(maxLimit, Math.floor(limit) || defaultLimit))
