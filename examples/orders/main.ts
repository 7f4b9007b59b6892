/**
 * An order service of its own, with the sync engine as one of its layers: orders are acknowledged durably, served
 * from memory, listed by state, and still there after a restart. `npm run example` in the repository runs it.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Context, Effect, Layer, Option, Schema, Stream } from "effect"
import type { ReadError, WriteError } from "effect-sync-engine"
import { jsonOf, SyncEngine } from "effect-sync-engine"

const Order = Schema.Struct({ customer: Schema.String, cents: Schema.Int })
type Order = typeof Order.Type

class Orders extends Context.Tag("orders-example/Orders")<
  Orders,
  {
    readonly place: (number: number, order: Order) => Effect.Effect<void, WriteError>
    readonly ship: (number: number) => Effect.Effect<boolean, WriteError | ReadError>
    readonly find: (number: number) => Effect.Effect<Option.Option<Order>, ReadError>
    readonly open: Effect.Effect<ReadonlyArray<string>, ReadError>
  }
>() {
  static readonly layer = Layer.effect(
    Orders,
    Effect.gen(function* () {
      const engine = yield* SyncEngine
      const idOf = (number: number) => `orders.${number}`
      return {
        place: (number, order) =>
          engine
            .submit({ id: idOf(number), content: JSON.stringify(order), state: "open" })
            .pipe(Effect.asVoid),
        ship: (number) => Effect.map(engine.setState(idOf(number), "shipped"), Option.isSome),
        find: (number) =>
          Effect.map(
            engine.get(idOf(number)),
            Option.flatMap((item) => Schema.decodeUnknownOption(Order)(jsonOf(item)))
          ),
        open: engine.getByState("open").pipe(
          Stream.map((item) => item.id),
          Stream.runCollect,
          Effect.map((ids) => [...ids])
        )
      }
    })
  )
}

const check = (holds: boolean, claim: string) =>
  holds ? Effect.log(`ok: ${claim}`) : Effect.die(new Error(`does not hold: ${claim}`))

const trade = Effect.gen(function* () {
  const orders = yield* Orders
  yield* Effect.forEach(
    [1, 2, 3],
    (number) => orders.place(number, { customer: `c${number}`, cents: number * 100 }),
    {
      concurrency: "unbounded"
    }
  )
  yield* check(yield* orders.ship(2), "order 2 was shipped")
  yield* check(!(yield* orders.ship(9)), "an order that does not exist is not shipped")
  yield* check((yield* orders.open).join() === "orders.1,orders.3", "orders 1 and 3 are open")
})

const afterRestart = Effect.gen(function* () {
  const orders = yield* Orders
  const found = yield* orders.find(3)
  yield* check(Option.isSome(found) && found.value.cents === 300, "order 3 is there after the restart")
  yield* check((yield* orders.open).length === 2, "two orders are still open")
})

const program = Effect.gen(function* () {
  const dataDir = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "orders-"))),
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
  )
  const application = () => Layer.provide(Orders.layer, SyncEngine.layer({ dataDir }))
  yield* Effect.provide(trade, application())
  yield* Effect.provide(afterRestart, application())
})

NodeRuntime.runMain(Effect.scoped(program))
