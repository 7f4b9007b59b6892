/** What the parent tells a writer: one life, from the opening of the engine to its end. */

/** Where a writer kills itself, counted from when it serves; the parent kills it at random instants otherwise. */
export type KillPoint =
  /** Right after the acknowledgement has been written down, before anything else can happen. */
  | "acknowledged"
  /** The log has committed, and nobody has been told. */
  | "logged"
  /** A batch is about to be committed to the archive. */
  | "archiving"
  /** The archive has committed, the log still holds the batch. */
  | "archived"
  /** The log has let the batch go. */
  | "released"

export interface Life {
  readonly seed: number
  /** Of the first write; no two writes share one. */
  readonly firstOp: number
  readonly journal: string
  readonly dataDir: string
  readonly settings: {
    readonly batchFlushCount: number
    readonly batchFlushInterval: number
    readonly l1MaxBytes: number
    readonly walMaxItems: number
  }
  /** Without archive-level writes nothing hurries the flush, and the log fills. */
  readonly archiveLevel: boolean
  readonly killSelf?: { readonly point: KillPoint; readonly count: number }
  /** Writes for so long, then shuts down; otherwise it writes until it is killed. */
  readonly stopAfterMs?: number
}

/** What a writer tells while it runs. */
export type Moment = "loaded" | "opening" | "draining" | "ready" | "flushing"

/** Every id there is; some are both an item and the prefix of others. */
export const ids: ReadonlyArray<string> = Array.from({ length: 12 }, (_, branch) => [
  `branch${branch}`,
  ...Array.from({ length: 19 }, (_, leaf) => `branch${branch}.${leaf % 3 === 0 ? "ü" : "leaf"}${leaf}`)
]).flat()
