/**
 * The tree of another node over HTTP, for comparisons.
 *
 * @since 0.1.0
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import { Effect, Option } from "effect"
import type { LeafPart, MerkleSource } from "../../merkle/Source.js"
import * as Client from "./HttpClient.js"

const sumOf = (hex: string): bigint => BigInt(`0x${hex}`)

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
      Option.flatMap(({ count, digest, path, sum }) =>
        count === 0 ? Option.none() : Option.some({ path, count, digest, sum: sumOf(sum) })
      )
    ),
  branches: (path, page) => Effect.map(client.merkleBranches(path, page), ({ branches }) => branches),
  leaves: (path, page) => Effect.map(client.merkleLeaves(path, page), ({ leaves }) => leaves),
  leafSum: (path, range) =>
    Effect.gen(function* () {
      let { after } = range
      let count = 0
      let sum = 0n
      for (;;) {
        const part = yield* client.merkleSum(path, { after, upTo: range.upTo })
        count += part.count
        sum += sumOf(part.sum)
        if (part.next_after === null) return { count, sum: BigInt.asUintN(256, sum) }
        after = part.next_after
      }
    }),
  leafParts: (path, range, size) =>
    Effect.gen(function* () {
      let { after } = range
      const parts: Array<LeafPart> = []
      for (;;) {
        const page = yield* client.merkleParts(path, { after, upTo: range.upTo }, size)
        for (const { count, sum, up_to: upTo } of page.parts) parts.push({ upTo, count, sum: sumOf(sum) })
        if (page.next_after === null) return parts
        after = page.next_after
      }
    }),
  cutsItself: true
})

/**
 * The archived tree of the node at an address: hand it to `findDivergent`.
 *
 * @example
 * ```ts
 * const other = yield* MerkleClient.make({ url: "http://node-b:7420", token })
 * yield* Stream.runForEach(engine.findDivergent(other), ({ id, kind }) => Effect.log(`${kind} ${id}`))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Client.ClientOptions
): Effect.Effect<MerkleSource<Client.ClientError>, never, HttpClient.HttpClient> =>
  Effect.map(Client.make(options), ofClient)
