/** Ids whose write to the cache has failed, or of which nobody knows whether it arrived. */

/** About 10 MB of ids; reading both trees costs less than repairing more than these one by one. */
export const mostMisses = 50_000

/**
 * A hint: what repairs a cache after the usual outage without reading two trees. That it was enough is proven by equal
 * roots, so it may be incomplete, and nothing is believed because of it.
 */
export class CacheMisses {
  /** None when there were too many. */
  private ids: Set<string> | undefined = new Set()

  add(records: ReadonlyArray<{ readonly id: string }>): void {
    const { ids } = this
    if (ids === undefined) return
    for (const { id } of records) ids.add(id)
    if (ids.size > mostMisses) this.ids = undefined
  }

  /** All of them; none when there were too many. */
  get listed(): ReadonlyArray<string> {
    return this.ids === undefined ? [] : [...this.ids]
  }

  /** The cache holds what the archive does: all begins again. */
  clear(): void {
    if (this.ids?.size !== 0) this.ids = new Set()
  }

  /** There is no cache. */
  end(): void {
    this.ids = undefined
  }
}
