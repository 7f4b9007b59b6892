/** The status of a cache: read at once, published when it changes. */
import { Effect, PubSub, type Scope, Stream } from "effect"
import type { CacheStatus } from "./Cache.js"

export class StatusFeed {
  private constructor(
    private readonly published: PubSub.PubSub<CacheStatus>,
    private shown: CacheStatus,
    private readonly now: () => number
  ) {}

  static readonly make = (
    connection: CacheStatus["connection"],
    generation: number
  ): Effect.Effect<StatusFeed, never, Scope.Scope> =>
    Effect.gen(function* () {
      const clock = yield* Effect.clock
      const now = () => clock.unsafeCurrentTimeMillis()
      const published = yield* Effect.acquireRelease(PubSub.sliding<CacheStatus>(16), PubSub.shutdown)
      const first = { connection, since: now(), generation, lastError: undefined, warnings: [] }
      return new StatusFeed(published, first, now)
    })

  get current(): CacheStatus {
    return this.shown
  }

  /** Another connection or generation is published, anything else only when `force` says so. */
  set(change: Partial<CacheStatus>, force = false): void {
    const before = this.shown
    const moved = change.connection !== undefined && change.connection !== before.connection
    this.shown = { ...before, ...change, since: moved ? this.now() : before.since }
    if (force || moved || this.shown.generation !== before.generation) this.published.unsafeOffer(this.shown)
  }

  /** The present status, then every change of it. */
  get changes(): Stream.Stream<CacheStatus> {
    return Stream.unwrapScoped(
      Effect.map(PubSub.subscribe(this.published), (queue) =>
        Stream.concat(
          Stream.sync(() => this.shown),
          Stream.fromQueue(queue)
        )
      )
    )
  }
}
