/**
 * The words of the Merkle tree. Interior nodes are id prefixes; the tree is additive: a node's sum is the sum,
 * modulo 2^256, of the digests of all leaves below it, so an update adds `new - old` along one path and reads
 * no sibling, order does not matter, and a deletion restores the previous root.
 *
 * @since 0.1.0
 */

/**
 * 32 bytes as 64 lower-case hexadecimal digits.
 *
 * @since 0.1.0
 * @category models
 */
export type Digest = string

/**
 * An interior node: the live items strictly below `path` (`""` is the top).
 *
 * @since 0.1.0
 * @category models
 */
export interface TreeNode {
  readonly path: string
  /** Live items below. */
  readonly count: number
  /** Sum of their leaf digests modulo 2^256. */
  readonly sum: bigint
  /** SHA-256 over domain, path, count and sum. */
  readonly digest: Digest
}

/**
 * One child of a path: a branch (prefix with items below) or a leaf (an item). A name can be both.
 *
 * @since 0.1.0
 * @category models
 */
export interface TreeChild {
  /** The last segment. */
  readonly name: string
  readonly kind: "branch" | "leaf"
  /** Items below a branch; 1 for a leaf. */
  readonly count: number
  readonly digest: Digest
}

/**
 * What a leaf digest covers.
 *
 * @since 0.1.0
 * @category models
 */
export interface Leaf {
  readonly id: string
  readonly version: number
  readonly updatedAt: number
  readonly contentHash: string
}
