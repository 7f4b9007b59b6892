/**
 * The archived tree of another node over HTTP, for comparisons: only digests travel, and no item does.
 *
 * @since 0.1.0
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import { Effect, Option, Stream } from "effect"
import type { MerkleSource, NameRange } from "../../merkle/Source.js"
import * as Client from "./HttpClient.js"

/** What the pages of a range say, until one is the last. */
const pages = <Page extends { readonly nextAfter: string | undefined }, E>(
  { after, upTo }: NameRange,
  read: (range: NameRange) => Effect.Effect<Page, E>
): Stream.Stream<Page, E> =>
  Stream.paginateEffect(after, (from) =>
    Effect.map(read({ after: from, upTo }), (page) => [page, Option.fromNullable(page.nextAfter)])
  )

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
  leafSum: (path, range) =>
    Stream.runFold(
      pages(range, (rest) => client.merkleSum(path, rest)),
      { count: 0, sum: 0n },
      (all, { count, sum }) => ({ count: all.count + count, sum: BigInt.asUintN(256, all.sum + sum) })
    ),
  leafParts: (path, range, size) =>
    Effect.map(Stream.runCollect(pages(range, (rest) => client.merkleParts(path, rest, size))), (all) =>
      Array.from(all).flatMap(({ parts }) => parts)
    ),
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
