/** The tree over HTTP, for other nodes' verification. */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import { Effect, Option } from "effect"
import type { ReadError } from "../../EngineError.js"
import { sumToHex } from "../../merkle/Digest.js"
import type { TreeNode } from "../../merkle/Tree.js"
import { boundedParts, boundedSum } from "../../reconcile/Sources.js"
import { SyncEngine } from "../../SyncEngine.js"
import { prefixProblem } from "../../SyncItem.js"
import { Api } from "../api/Api.js"
import type { LeavesQuery, NamesQuery, NodeQuery, PartsQuery, RangeQuery } from "../api/ApiSchemas.js"
import { nodeBody } from "../api/Encode.js"
import { type HttpProblem, invalidRequest, notFound } from "../api/HttpProblem.js"
import { answering } from "../middleware/HttpContext.js"

const defaultChildren = 1_000
/** Items that one request reads at most, and parts it returns. */
const maxItems = 100_000
const maxParts = 1_000

export const MerkleHandlers = HttpApiBuilder.group(Api, "merkle", (handlers) =>
  Effect.gen(function* () {
    const engine = yield* SyncEngine

    /** The top exists even when nothing is stored. */
    const nodeAt = (path: string): Effect.Effect<TreeNode, ReadError | HttpProblem> =>
      Effect.flatMap(engine.merkleNode(path), (found): Effect.Effect<TreeNode, ReadError | HttpProblem> => {
        if (Option.isSome(found)) return Effect.succeed(found.value)
        return path === ""
          ? Effect.map(engine.merkleRoot, (digest) => ({ path, count: 0, sum: 0n, digest }))
          : Effect.fail(notFound("path", path))
      })

    const node = (query: typeof NodeQuery.Type) =>
      Effect.gen(function* () {
        const { after, after_kind: kind, limit = defaultChildren, path = "" } = query
        const problem = prefixProblem(path)
        if (problem !== undefined) return yield* Effect.fail(invalidRequest("path", problem))
        if ((after === undefined) !== (kind === undefined)) {
          return yield* Effect.fail(invalidRequest("after", "and after_kind go together"))
        }
        const found = yield* nodeAt(path)
        const cursor = after === undefined || kind === undefined ? undefined : { name: after, kind }
        const children = yield* engine.merkleChildren(path, { after: cursor, limit })
        return nodeBody(found, children, limit)
      })

    const tree = engine.merkleSource

    /** Answers for a valid path, the top without one. */
    const at =
      <Query extends { readonly path?: string | undefined }, A>(
        answer: (query: Query, path: string) => Effect.Effect<A, ReadError>
      ) =>
      ({ urlParams }: { readonly urlParams: Query }) => {
        const { path = "" } = urlParams
        const problem = prefixProblem(path)
        return answering<A, never>(
          problem === undefined ? answer(urlParams, path) : Effect.fail(invalidRequest("path", problem))
        )
      }

    const branches = ({ after, limit = defaultChildren }: typeof NamesQuery.Type, path: string) =>
      Effect.map(tree.branches(path, { after, limit }), (found) => ({
        branches: found.map(({ count, digest, name }) => ({ name, count, digest }))
      }))

    const leaves = ({ after, limit = defaultChildren, up_to: upTo }: typeof LeavesQuery.Type, path: string) =>
      Effect.map(tree.leaves(path, { after, upTo, limit }), (found) => ({
        leaves: found.map(({ digest, name }) => ({ name, digest }))
      }))

    const sum = ({ after, up_to: upTo }: typeof RangeQuery.Type, path: string) =>
      Effect.map(boundedSum(tree.leaves, path, { after, upTo }, maxItems), ({ count, nextAfter, sum }) => ({
        count,
        sum: sumToHex(sum),
        next_after: nextAfter ?? null
      }))

    const parts = ({ after, size, up_to: upTo }: typeof PartsQuery.Type, path: string) =>
      Effect.map(
        boundedParts(tree.leaves, path, { after, upTo }, size, { items: maxItems, parts: maxParts }),
        ({ nextAfter, parts }) => ({
          parts: parts.map(({ count, sum, upTo }) => ({ up_to: upTo, count, sum: sumToHex(sum) })),
          next_after: nextAfter ?? null
        })
      )

    return handlers
      .handleRaw("root", () => answering(Effect.map(engine.merkleRoot, (root) => ({ root }))))
      .handleRaw("node", ({ urlParams }) => answering(node(urlParams)))
      .handleRaw("branches", at(branches))
      .handleRaw("leaves", at(leaves))
      .handleRaw("sum", at(sum))
      .handleRaw("parts", at(parts))
  })
)
