/** How near the log, or the memory for what is pending, is to its bounds. */
import type { EngineConfig } from "../../config/Model.js"
import type { BackpressureLevel } from "../../shared/Backpressure.js"
import { levelOf } from "../../shared/Backpressure.js"
import type { OpenLog } from "../../wal/WriteAheadLog.js"
import type { LogTail } from "./LogTail.js"
import { type PendingAppends, recordMemory } from "./PendingAppends.js"
import type { PendingIndex } from "./PendingIndex.js"

export class WritePressure {
  private last: BackpressureLevel = "Normal"

  constructor(
    private readonly here: {
      readonly config: () => EngineConfig
      readonly tiers: { readonly log: OpenLog } | undefined
      readonly appends: PendingAppends
      readonly pending: PendingIndex
      readonly tail: LogTail
    }
  ) {}

  /** 0 to 1. */
  get share(): number {
    if (this.here.tiers === undefined) return 0
    const { bytes, items, letterBytes, letters, maxBytes, maxItems } = this.here.tiers.log.usage()
    return Math.max(
      (items + letters) / maxItems,
      (bytes + letterBytes) / maxBytes,
      this.memory / this.here.config().pendingMaxBytes
    )
  }

  /** What pending writes take of the process's memory, about: the index, the records on their way, appends under way. */
  private get memory(): number {
    const { appends, pending, tail } = this.here
    return pending.memory + tail.bytes + tail.size * recordMemory + appends.memory
  }

  level(): BackpressureLevel {
    this.last = levelOf(this.share, this.last)
    return this.last
  }
}
