/**
 * The archived tree of another node over HTTP, for comparisons: only digests travel, and no item does.
 *
 * @since 0.1.0
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import { Effect, Option } from "effect"
import type { LeafPart, MerkleSource } from "../../merkle/Source.js"
import * as Client from "./HttpClient.js"

/**
 * A source over a client.
 *
 * @since 0.1.0
 * @category constructors
 */
export const ofClient = (client: Client.Client): MerkleSource<Client.ClientError> => ({
  root: client.merkleRoot,
  node: (path) =>
    Effect.map(
      client.merkleNode(path, { limit: 1 }),
      Option.filter(({ count }) => count > 0)
    ),
  branches: (path, page) => Effect.map(client.merkleBranches(path, page), ({ branches }) => branches),
  leaves: (path, page) => Effect.map(client.merkleLeaves(path, page), ({ leaves }) => leaves),
  leafSum: Effect.fnUntraced(function* (path, { after, upTo }) {
    let count = 0
    let sum = 0n
    for (let from = after; ; ) {
      const part = yield* client.merkleSum(path, { after: from, upTo })
      count += part.count
      sum += part.sum
      if (part.nextAfter === undefined) return { count, sum: BigInt.asUintN(256, sum) }
      from = part.nextAfter
    }
  }),
  leafParts: Effect.fnUntraced(function* (path, { after, upTo }, size) {
    const parts: Array<LeafPart> = []
    for (let from = after; ; ) {
      const page = yield* client.merkleParts(path, { after: from, upTo }, size)
      parts.push(...page.parts)
      if (page.nextAfter === undefined) return parts
      from = page.nextAfter
    }
  }),
  cutsItself: true
})

/**
 * The archived tree of the node at an address: hand it to `findDivergent`. Its reads fail as the client's do.
 *
 * @example
 * ```ts
 * import { FetchHttpClient } from "@effect/platform"
 * import { Effect, Stream } from "effect"
 * import { SyncEngine } from "effect-sync-engine"
 * import * as MerkleClient from "effect-sync-engine/MerkleClient"
 *
 * const compare = Effect.gen(function* () {
 *   const engine = yield* SyncEngine
 *   const other = yield* MerkleClient.make({ url: "http://node-b:7420" })
 *   yield* Stream.runForEach(engine.findDivergent(other), ({ id, kind }) => Effect.log(`${kind} ${id}`))
 * }).pipe(Effect.provide(FetchHttpClient.layer))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Client.ClientOptions
): Effect.Effect<MerkleSource<Client.ClientError>, never, HttpClient.HttpClient> =>
  Effect.map(Client.make(options), ofClient)
