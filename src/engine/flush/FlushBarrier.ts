/** Before a question about many items goes to the archive, what was acknowledged before it is carried there. */

import { Duration, Effect } from "effect"
import type { OpenArchive } from "../../archive/Archive.js"
import type { ArchiveError } from "../../archive/ArchiveError.js"
import type { ReadError } from "../../EngineError.js"
import type { FlushResult } from "../../SyncEngineModels.js"
import { counted } from "../../shared/Counted.js"
import { archiveFailed, archiveUnavailable, noArchive } from "../state/Conditions.js"
import type { EngineState } from "../state/EngineState.js"
import type { Flusher } from "./Flusher.js"

type Question<A> = (archive: OpenArchive) => Effect.Effect<A, ArchiveError>

export class FlushBarrier {
  constructor(
    private readonly core: EngineState,
    private readonly flush: Flusher
  ) {}

  /** Carries what was acknowledged before this call, and no more; fails when that takes longer than `FLUSH_TIMEOUT`. */
  all(operation: string): Effect.Effect<FlushResult, ReadError> {
    const { core, flush } = this
    return Effect.suspend(() => {
      const { flushTimeout } = core.config()
      const before = { ...core.counters }
      const carried = Effect.zipRight(
        core.early.settled,
        Effect.suspend(() => {
          const upTo = core.log.usage().committed
          const through = core.tail.isEmpty || core.tail.consumed >= upTo
          return through ? Effect.void : flush.run({ reason: "forced", upTo })
        })
      )
      return carried.pipe(
        Effect.catchTag("ArchiveError", archiveUnavailable(operation)),
        // A commit under way cannot be interrupted; the caller does not wait for it.
        Effect.disconnect,
        Effect.timeoutFail({
          duration: Duration.millis(flushTimeout),
          onTimeout: () => tooSlow(operation, flushTimeout, core.pendingEntries())
        }),
        Effect.map(() => {
          const deadLettered = core.counters.deadLettered - before.deadLettered
          const flushed = core.counters.archived - before.archived + deadLettered
          return { flushed, deadLettered, pending: core.pendingEntries() }
        })
      )
    })
  }

  /** Asks the archive; what is still pending is not seen. */
  ask<A>(operation: string, question: Question<A>): Effect.Effect<A, ReadError> {
    return Effect.suspend(() => {
      const archive = this.core.tiers?.archive
      return archive === undefined
        ? noArchive(operation)
        : Effect.mapError(question(archive), archiveUnavailable(operation))
    })
  }

  /** Both, after a look at the gate. */
  thenAsk<A>(operation: string, question: Question<A>): Effect.Effect<A, ReadError> {
    return Effect.suspend(
      (): Effect.Effect<A, ReadError> =>
        this.core.gate.query() ?? Effect.zipRight(this.all(operation), this.ask(operation, question))
    )
  }
}

const tooSlow = (operation: string, flushTimeout: number, pending: number) =>
  archiveFailed(
    operation,
    `what was acknowledged before was not all archived within FLUSH_TIMEOUT (${flushTimeout} ms); ` +
      `${counted(pending, "write is", "writes are")} pending`
  )
