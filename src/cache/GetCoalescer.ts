/**
 * Collects the single gets of one turn of the event loop and reads them together. No fiber, Deferred or timer an
 * item: a waiting get is one callback in a list.
 */
import { Effect, Option } from "effect"
import { type CachedRecord, CacheError } from "./Cache.js"

type Answer = Effect.Effect<Option.Option<CachedRecord>, CacheError>
type Waiter = (answer: Answer) => void

const absent: Answer = Effect.succeed(Option.none())

export class GetCoalescer {
  private waiting = new Map<string, Array<Waiter>>()

  /**
   * @param readMany reads the records of distinct ids; absent ones are left out
   * @param maxBatch how many ids one read takes at most
   */
  constructor(
    private readonly readMany: (ids: ReadonlyArray<string>) => Promise<ReadonlyArray<CachedRecord>>,
    private readonly maxBatch: number
  ) {}

  readonly get = (id: string): Answer =>
    Effect.async((resume) => {
      const waiters = this.waiting.get(id)
      if (waiters === undefined) {
        this.waiting.set(id, [resume])
        if (this.waiting.size === 1) setImmediate(() => this.flush())
      } else {
        waiters.push(resume)
      }
    })

  private flush(): void {
    const waiting = this.waiting
    this.waiting = new Map()
    const ids = [...waiting.keys()]
    for (let from = 0; from < ids.length; from += this.maxBatch) {
      void this.read(ids.slice(from, from + this.maxBatch), waiting)
    }
  }

  private async read(ids: ReadonlyArray<string>, waiting: Map<string, Array<Waiter>>): Promise<void> {
    try {
      for (const record of await this.readMany(ids)) {
        const answer = Effect.succeed(Option.some(record))
        for (const resume of waiting.get(record.id)!) resume(answer)
        waiting.delete(record.id)
      }
      for (const id of ids) {
        for (const resume of waiting.get(id) ?? []) resume(absent)
      }
    } catch (cause) {
      const error =
        cause instanceof CacheError
          ? cause
          : new CacheError({
              operation: "get",
              kind: "malformed",
              problem: String(cause),
              retryAfterMs: 1_000
            })
      const answer = Effect.fail(error)
      for (const id of ids) {
        for (const resume of waiting.get(id) ?? []) resume(answer)
      }
    }
  }
}
