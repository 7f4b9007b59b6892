/**
 * The tree over HTTP, for other nodes' verification.
 *
 * @since 0.1.0
 */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { ReadError } from "../EngineError.js"
import type { TreeNode } from "../merkle/Tree.js"
import { SyncEngine } from "../SyncEngine.js"
import { prefixProblem } from "../SyncItem.js"
import { Api } from "./Api.js"
import type { NodeQuery } from "./ApiSchemas.js"
import { nodeBody } from "./Encode.js"
import { answering } from "./HttpContext.js"
import { type HttpProblem, invalidRequest, notFound } from "./HttpProblem.js"

const defaultChildren = 1_000

/** @since 0.1.0 @category layers */
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

    return handlers
      .handleRaw("root", () => answering(Effect.map(engine.merkleRoot, (root) => ({ root }))))
      .handleRaw("node", ({ urlParams }) => answering(node(urlParams)))
  })
)
