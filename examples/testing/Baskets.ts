/** A shop's baskets, over the sync engine. One that nobody has touched for half an hour is given up. */
import { Clock, Context, Duration, Effect, Layer, Schedule, Stream } from "effect"
import type { ReadError, WriteError } from "effect-sync-engine"
import { SyncEngine } from "effect-sync-engine"

const keptFor = Duration.minutes(30)

export class Baskets extends Context.Tag("testing-example/Baskets")<
  Baskets,
  {
    readonly put: (customer: string, goods: ReadonlyArray<string>) => Effect.Effect<void, WriteError>
    readonly open: Effect.Effect<ReadonlyArray<string>, ReadError>
  }
>() {
  static readonly layer = Layer.scoped(
    Baskets,
    Effect.gen(function* () {
      const engine = yield* SyncEngine
      const tidy = Effect.gen(function* () {
        const before = (yield* Clock.currentTimeMillis) - Duration.toMillis(keptFor)
        yield* engine.getByState("open").pipe(
          Stream.filter(({ updatedAt }) => updatedAt <= before),
          Stream.runForEach(({ id }) => engine.setState(id, "given-up"))
        )
      })
      yield* tidy.pipe(
        Effect.catchAllCause((cause) => Effect.logWarning("baskets are not tidied now", cause)),
        Effect.schedule(Schedule.spaced("1 minute")),
        Effect.forkScoped
      )
      return {
        put: (customer, goods) =>
          Effect.asVoid(
            engine.submit({ id: `baskets.${customer}`, content: JSON.stringify(goods), state: "open" })
          ),
        open: Effect.map(Stream.runCollect(engine.getByState("open")), (items) =>
          [...items].map(({ id }) => id)
        )
      }
    })
  )
}
