/**
 * Collects the single gets of one turn of the event loop and reads them together. No fiber, Deferred or timer per
 * item: a waiting get is one callback in a list.
 */
import { Effect, Exit, Option } from "effect"
import type { CachedRecord, CacheError } from "./Cache.js"

type Found = Effect.Effect<Option.Option<CachedRecord>, CacheError>
type Waiter = (found: Found) => void

export class GetCoalescer {
  private waiting = new Map<string, Array<Waiter>>()

  /**
   * @param readMany reads the records of distinct ids; absent ones are left out
   * @param maxBatch how many ids one read takes at most
   */
  constructor(
    private readonly readMany: (
      ids: ReadonlyArray<string>
    ) => Effect.Effect<ReadonlyArray<CachedRecord>, CacheError>,
    private readonly maxBatch: number
  ) {}

  readonly get = (id: string): Found =>
    Effect.async((resume) => {
      const waiters = this.waiting.get(id)
      if (waiters !== undefined) {
        waiters.push(resume)
        return
      }
      this.waiting.set(id, [resume])
      if (this.waiting.size === 1) setImmediate(() => this.flush())
    })

  private flush(): void {
    const waiting = this.waiting
    this.waiting = new Map()
    const ids = [...waiting.keys()]
    for (let from = 0; from < ids.length; from += this.maxBatch) {
      const batch = ids.slice(from, from + this.maxBatch)
      Effect.runCallback(this.readMany(batch), { onExit: (exit) => resumeAll(batch, waiting, exit) })
    }
  }
}

const resumeAll = (
  ids: ReadonlyArray<string>,
  waiting: ReadonlyMap<string, ReadonlyArray<Waiter>>,
  exit: Exit.Exit<ReadonlyArray<CachedRecord>, CacheError>
): void => {
  const found = Exit.map(exit, (records) => new Map(records.map((record) => [record.id, record])))
  for (const id of ids) {
    const one = Exit.map(found, (records) => Option.fromNullable(records.get(id)))
    for (const resume of waiting.get(id)!) resume(one)
  }
}
