/** Versions by id of which any may go, and the newest of each id at once. */
import type { ItemVersion } from "../../SyncItem.js"
import { compareVersions, sameVersion } from "../../SyncItem.js"

/** The versions of one id. */
class Several<K, V extends object> {
  constructor(
    readonly all: Map<K, V>,
    public newest: V
  ) {}
}

/** Every step takes constant time as long as the newest version of an id goes last, as it does with group commits. */
export class NewestPerId<K, V extends object> {
  // Nearly always one version an id, so that one stands alone.
  private readonly ids = new Map<string, V | Several<K, V>>()

  constructor(
    private readonly keyOf: (one: V) => K,
    private readonly headOf: (one: V) => ItemVersion
  ) {}

  get size(): number {
    return this.ids.size
  }

  /** The ids. */
  get keys(): IterableIterator<string> {
    return this.ids.keys()
  }

  has(id: string): boolean {
    return this.ids.has(id)
  }

  /** The newest one of an id; of one number the version added first, of its repeats the last. */
  newest(id: string): V | undefined {
    const known = this.ids.get(id)
    return known instanceof Several ? known.newest : known
  }

  /** Adding the same one again changes nothing. */
  add(one: V): void {
    const { id } = this.headOf(one)
    const known = this.ids.get(id)
    const key = this.keyOf(one)
    if (known === undefined) this.ids.set(id, one)
    else if (!(known instanceof Several)) {
      const first = this.keyOf(known)
      if (first === key) return
      this.ids.set(id, new Several(new Map([[first, known]]).set(key, one), this.newer(known, one)))
    } else if (!known.all.has(key)) {
      known.all.set(key, one)
      known.newest = this.newer(known.newest, one)
    }
  }

  /** Whether it was there. */
  remove(id: string, key: K): boolean {
    const known = this.ids.get(id)
    if (known === undefined) return false
    if (!(known instanceof Several)) return this.keyOf(known) === key && this.ids.delete(id)
    if (!known.all.delete(key)) return false
    if (known.all.size === 1) for (const last of known.all.values()) this.ids.set(id, last)
    else if (this.keyOf(known.newest) === key) {
      known.newest = [...known.all.values()].reduce((a, b) => this.newer(a, b))
    }
    return true
  }

  *values(): Generator<V> {
    for (const known of this.ids.values()) {
      if (known instanceof Several) yield* known.all.values()
      else yield known
    }
  }

  private newer(a: V, b: V): V {
    const [first, second] = [this.headOf(a), this.headOf(b)]
    const order = compareVersions(first, second)
    return order > 0 || (order === 0 && !sameVersion(first, second)) ? a : b
  }
}
