/**
 * Sizes that bound the engine's own work: nobody has to configure them, and simulations make them small so that
 * every page boundary is crossed.
 */
import { Context } from "effect"

export interface Limits {
  /** Bytes of fresh entries kept in memory on their way to the archive; never less than eight full batches. */
  readonly freshQueueBytes: number
  /** Items of a batch prepared in one go before other work gets its turn. */
  readonly itemsPerTurn: number
  /** Content bytes hashed in one go before other work gets its turn. */
  readonly bytesPerTurn: number
  /** Entries read at once when the pending index is built from the log. */
  readonly replayItems: number
  readonly replayBytes: number
  /** Ids asked in one archive query. */
  readonly idsPerQuery: number
  /** Ids deleted at once by the bulk deletes. */
  readonly idsPerDelete: number
  /** Items of one page of a stream. */
  readonly streamPageItems: number
  /** Contents read for one page. */
  readonly pageBytes: number
  /** Dead letters handled at once. */
  readonly lettersPerPage: number
  /** How often what may be overdue is looked for: a filter to rebuild, a log that refused a write. */
  readonly lookEveryMs: number
}

export const defaultLimits: Limits = {
  freshQueueBytes: 16 * 1024 * 1024,
  itemsPerTurn: 100,
  bytesPerTurn: 256 * 1024,
  replayItems: 2000,
  replayBytes: 4 * 1024 * 1024,
  idsPerQuery: 500,
  idsPerDelete: 1000,
  streamPageItems: 500,
  pageBytes: 8 * 1024 * 1024,
  lettersPerPage: 500,
  lookEveryMs: 1000
}

/** Read once, when an engine is made. */
export class EngineLimits extends Context.Reference<EngineLimits>()("effect-sync-engine/EngineLimits", {
  defaultValue: () => defaultLimits
}) {}
