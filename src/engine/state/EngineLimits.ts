/** Sizes that bound the engine's own work; simulations make them small so that every page boundary is crossed. */
import { Context } from "effect"

export const defaultLimits = {
  /** Bytes of fresh entries kept in memory on their way to the archive; never less than eight full batches. */
  freshQueueBytes: 16 * 1024 * 1024,
  /** Items of a batch prepared in one go before other work gets its turn: about 1 ms. Fewer cost more messages and syncs. */
  itemsPerTurn: 250,
  /** Content bytes hashed in one go before other work gets its turn. */
  bytesPerTurn: 256 * 1024,
  /** Entries read at once when the pending index is built from the log. */
  replayItems: 2000,
  replayBytes: 4 * 1024 * 1024,
  /** Ids asked in one archive query. */
  idsPerQuery: 500,
  /** Ids deleted at once by the bulk deletes. */
  idsPerDelete: 1000,
  /** Items of one page of a stream. */
  streamPageItems: 500,
  /** Contents read for one page. */
  pageBytes: 8 * 1024 * 1024,
  /** Dead letters handled at once. */
  lettersPerPage: 500,
  /** How often what may be overdue is looked for: a filter to rebuild, a log that refused a write. */
  lookEveryMs: 1000
}

export type Limits = Readonly<typeof defaultLimits>

/** Read once, when an engine is made. */
export class EngineLimits extends Context.Reference<EngineLimits>()("effect-sync-engine/EngineLimits", {
  defaultValue: (): Limits => defaultLimits
}) {}
