/** The tree over HTTP, for other nodes' verification. */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import { Effect, Option } from "effect"
import { boundedParts, boundedSum } from "../../reconcile/Sources.js"
import { SyncEngine, type SyncEngineApi } from "../../SyncEngine.js"
import { prefixProblem } from "../../SyncItem.js"
import { Api } from "../api/Api.js"
import type { Failure } from "../api/ErrorMapping.js"
import type { NodeQuery } from "../api/Parameters.js"
import { invalidRequest, notFound } from "../api/RequestFailed.js"

const pageItems = 1_000
/** Items that one request reads at most, and parts it returns. */
const bounds = { items: 100_000, parts: 1_000 }

/** Reads at a valid path, at the top without one. */
const at =
  <Query extends { readonly path?: string | undefined }, A, E extends Failure>(
    read: (path: string, query: Query) => Effect.Effect<A, E>
  ) =>
  ({ urlParams }: { readonly urlParams: Query }): Effect.Effect<A, Failure> => {
    const { path = "" } = urlParams
    const problem = prefixProblem(path)
    return problem === undefined ? read(path, urlParams) : Effect.fail(invalidRequest("path", problem))
  }

/** The top exists even when nothing is stored. */
const nodeAt = Effect.fnUntraced(function* (engine: SyncEngineApi, path: string) {
  const found = yield* engine.merkleNode(path)
  if (Option.isSome(found)) return found.value
  if (path !== "") return yield* notFound("path", path)
  return { path, count: 0, sum: 0n, digest: yield* engine.merkleRoot }
})

const nodePage = (engine: SyncEngineApi) =>
  Effect.fnUntraced(function* (path: string, query: typeof NodeQuery.Type) {
    const { after: name, afterKind: kind, limit = pageItems } = query
    if ((name === undefined) !== (kind === undefined)) {
      return yield* Effect.fail(invalidRequest("after", "and after_kind go together"))
    }
    const node = yield* nodeAt(engine, path)
    const after = name === undefined || kind === undefined ? undefined : { name, kind }
    const children = yield* engine.merkleChildren(path, { after, limit })
    return { ...node, children, nextAfter: children.length < limit ? undefined : children[limit - 1] }
  })

export const MerkleHandlers = HttpApiBuilder.group(Api, "merkle", (handlers) =>
  Effect.gen(function* () {
    const engine = yield* SyncEngine
    const tree = engine.merkleSource

    return handlers
      .handle("root", () => Effect.map(engine.merkleRoot, (root) => ({ root })))
      .handle("node", at(nodePage(engine)))
      .handle(
        "branches",
        at((path, { after, limit = pageItems }) =>
          Effect.map(tree.branches(path, { after, limit }), (branches) => ({ branches }))
        )
      )
      .handle(
        "leaves",
        at((path, { after, limit = pageItems, upTo }) =>
          Effect.map(tree.leaves(path, { after, upTo, limit }), (leaves) => ({ leaves }))
        )
      )
      .handle(
        "sum",
        at((path, { after, upTo }) => boundedSum(tree.leaves, path, { after, upTo }, bounds.items))
      )
      .handle(
        "parts",
        at((path, { after, size, upTo }) => boundedParts(tree.leaves, path, { after, upTo }, size, bounds))
      )
  })
)
