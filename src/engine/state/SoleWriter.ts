/**
 * Whether what this node knows decides. It does while it is certain that nobody else writes the archive, and everything
 * in memory and log is from that time; otherwise another node may hold something newer, and the archive is asked.
 * Without an archive there is nobody else.
 *
 * Being the sole writer begins with a lease. What memory had read before may be old: it is emptied, and reads under way
 * look again. What was written before may have lost against another node's newer version, which only its commit finds
 * out; so memory decides once everything is archived that was in the log, or on its way there, when the lease was first
 * seen. Rejected: asking the archive for every write of the log at that moment, which costs as much as archiving it.
 */
import type { OpenFilter } from "../../filter/ExistenceFilter.js"
import type { MemoryCache } from "../../memory/MemoryCache.js"
import type { OpenLog } from "../../wal/WriteAheadLog.js"
import type { LogTail } from "./LogTail.js"
import type { PendingAppends } from "./PendingAppends.js"
import type { Watches } from "./Watching.js"

/** One time as the archive's only writer. */
interface Lease {
  readonly token: string
  /** The last append before it. */
  readonly lastAppend: number
  /** Known once those have ended: everything up to this sequence number must be archived first. */
  settledAt: number | undefined
}

export class SoleWriter {
  private lease: Lease | undefined

  constructor(
    private readonly here: {
      readonly expectsArchive: boolean
      readonly filter: OpenFilter | undefined
      readonly appends: PendingAppends
      readonly log: OpenLog
      readonly memory: MemoryCache
      readonly tail: LogTail
      readonly watches: Watches
    }
  ) {}

  /** Asks nobody, but the first call of a lease empties memory. */
  isCertain(): boolean {
    const { appends, expectsArchive, filter, tail } = this.here
    if (!expectsArchive) return true
    const token = filter?.lease()
    if (token === undefined) return false
    const lease = this.lease?.token === token ? this.lease : this.begin(token)
    if (lease.settledAt === undefined) {
      if (appends.oldest !== undefined && appends.oldest <= lease.lastAppend) return false
      lease.settledAt = this.here.log.usage().committed
    }
    return tail.consumed >= lease.settledAt || tail.isEmpty
  }

  private begin(token: string): Lease {
    this.here.memory.clear()
    this.here.watches.touchAll()
    this.lease = { token, lastAppend: this.here.appends.last, settledAt: undefined }
    return this.lease
  }
}
