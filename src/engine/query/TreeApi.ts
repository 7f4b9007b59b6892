/**
 * The Merkle tree over what is archived: reading, proving, repairing, comparing.
 *
 * @since 0.1.0
 */
import type { Effect, Option, Stream } from "effect"
import type { ReadError } from "../../EngineError.js"
import type { MerkleSource } from "../../merkle/Source.js"
import type { Digest, TreeChild, TreeNode } from "../../merkle/Tree.js"
import type { Difference, DivergenceCost } from "../../reconcile/Divergence.js"
import type { RepairOptions, RepairResult } from "../../reconcile/Repair.js"
import type { VerifyOptions, VerifyResult } from "../../reconcile/Verify.js"

/**
 * The tree; it waits, up to `FLUSH_TIMEOUT`, until what was acknowledged before the call is archived.
 *
 * @since 0.1.0
 * @category services
 */
export interface TreeApi {
  readonly merkleRoot: Effect.Effect<Digest, ReadError>
  readonly merkleNode: (path: string) => Effect.Effect<Option.Option<TreeNode>, ReadError>
  readonly merkleChildren: (
    path: string,
    page?: {
      readonly after?: { readonly name: string; readonly kind: "branch" | "leaf" } | undefined
      readonly limit?: number | undefined
    }
  ) => Effect.Effect<ReadonlyArray<TreeChild>, ReadError>
  /**
   * Proves what the tiers hold, after carrying to them what was acknowledged: without options that the roots are
   * equal and that the archive's rows hash to its tree. Changes nothing. Gives way to other work between pages.
   */
  readonly verify: (options?: VerifyOptions) => Effect.Effect<VerifyResult, ReadError>
  /**
   * Repairs what `verify` finds: the archive's tree from its rows, damaged bytes from memory or cache (as a new version),
   * the cache and its tree from the archive. Safe while others read and write. Without options everything is looked at.
   */
  readonly repair: (options?: RepairOptions) => Effect.Effect<RepairResult, ReadError>
  /** Whether the cache's root is the archive's; true without a cache, false while it is unavailable. */
  readonly isSynced: Effect.Effect<boolean, ReadError>
  /** This engine's archived tree for comparisons: pages of at most 10,000 names. */
  readonly merkleSource: MerkleSource<ReadError>
  /**
   * Where this engine's archive and another tree (of another engine, or `MerkleClient` over HTTP) differ, as it is
   * found: `missing` there, `extra` there, or `changed`. Moves few digests: about k log n for k differences. What is
   * written meanwhile may show.
   *
   * @param options.under only below this path
   */
  readonly findDivergent: <E>(
    other: MerkleSource<E>,
    options?: { readonly under?: string | undefined; readonly cost?: DivergenceCost | undefined }
  ) => Stream.Stream<Difference, ReadError | E>
}
