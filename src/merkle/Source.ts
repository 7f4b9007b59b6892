/** Whatever has a tree that can be compared: the archive, the cache, another node. */
import type { Effect, Option } from "effect"
import type { Digest, TreeChild, TreeNode } from "./Tree.js"
import type { Total } from "./TreeDelta.js"

/** A child prefix with items below. */
export type Branch = Omit<TreeChild, "kind">

/** One item directly below a path. */
export type LeafHead = Pick<TreeChild, "name" | "digest">

/** The items directly below a path whose names lie in a range: above `after`, up to and including `upTo`. */
export interface NameRange {
  readonly after?: string | undefined
  readonly upTo?: string | undefined
}

/** One part of a range: up to and including this name. */
export interface LeafPart extends Total {
  readonly upTo: string
}

/** Names are compared byte for byte; pages are ascending. */
export interface MerkleSource<E> {
  readonly root: Effect.Effect<Digest, E>
  readonly node: (path: string) => Effect.Effect<Option.Option<TreeNode>, E>
  readonly branches: (
    path: string,
    page: { readonly after?: string | undefined; readonly limit: number }
  ) => Effect.Effect<ReadonlyArray<Branch>, E>
  readonly leaves: (
    path: string,
    page: NameRange & { readonly limit: number }
  ) => Effect.Effect<ReadonlyArray<LeafHead>, E>
  /** Count and sum over a range of the items directly below a path. */
  readonly leafSum: (path: string, range: NameRange) => Effect.Effect<Total, E>
  /**
   * The same, cut by the source into parts of about `size` items: one pass over the range. None in the range: no
   * part. The last part ends with the range's last item.
   */
  readonly leafParts: (
    path: string,
    range: NameRange,
    size: number
  ) => Effect.Effect<ReadonlyArray<LeafPart>, E>
  /** `leafParts` is one question that moves nothing but the parts: cheaper than many questions for sums. */
  readonly cutsItself?: boolean | undefined
}
