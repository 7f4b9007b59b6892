/**
 * What a verification finds: all of it counted, the first of it listed.
 *
 * @since 0.1.0
 */

/**
 * Something that is not as it should be.
 *
 * @since 0.1.0
 * @category models
 */
export interface VerifyDifference {
  /** Where. */
  readonly tier: "archive" | "cache"
  /**
   * `root`: the digest at the top. `node`: an interior node of that tier's tree, by its path. `leaf`: an item as that
   * tier's tree lists it. `content`: an item's bytes, which do not hash to its content hash. `value`: an item as that
   * tier holds it.
   */
  readonly what: "root" | "node" | "leaf" | "content" | "value"
  /** An id; of a node its path. Empty for the root. */
  readonly id: string
  /** As seen from the truth: the rows for the archive's tree, the archive for the cache. */
  readonly problem: "missing" | "extra" | "changed"
}

export class Findings {
  readonly listed: Array<VerifyDifference> = []
  total = 0

  constructor(private readonly most: number) {}

  add(difference: VerifyDifference): void {
    this.total++
    if (this.listed.length < this.most) this.listed.push(difference)
  }

  addAll(others: Findings): void {
    for (const difference of others.listed) {
      if (this.listed.length < this.most) this.listed.push(difference)
    }
    this.total += others.total
  }

  /** None found so far, and as many listed as here. */
  fresh(): Findings {
    return new Findings(this.most)
  }
}
