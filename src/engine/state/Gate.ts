/** Whether calls are let in: the lifecycle's phase, and whether the archive is there and this log's. */
import type { Context } from "effect"
import { GateClosed } from "../../EngineError.js"
import type { Lifecycle } from "../../Lifecycle.js"

/** How long a caller should wait before it knocks at a closed gate again. */
export const gateRetryAfterMs = 1000

export class Gate {
  /** Started without the archive, which has not been connected yet: writes go into the log, nothing can be read. */
  awaitsArchive = false
  /** What was connected is not this log's archive: nothing more is taken in until it is. */
  wrongArchive: string | undefined

  constructor(private readonly lifecycle: Context.Tag.Service<Lifecycle>) {}

  get acceptsWrites(): boolean {
    return this.lifecycle.acceptsWrites() && this.wrongArchive === undefined
  }

  /** Why a query is refused, if it is. */
  query(): GateClosed | undefined {
    return this.lifecycle.acceptsQueries() ? undefined : this.closed("query")
  }

  closed(operation: "write" | "query"): GateClosed {
    const { phase, reason: said } = this.lifecycle.unsafeSnapshot()
    const reason = said ?? this.wrongArchive ?? (this.awaitsArchive ? "SQL is not connected yet" : undefined)
    return new GateClosed({
      operation,
      phase,
      ...(reason === undefined ? {} : { reason }),
      retryAfterMs: gateRetryAfterMs
    })
  }
}
