/**
 * The cache as the engine sees it: the service, and whether its content has been proven.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { CacheError, type CacheService } from "../cache/Cache.js"

/**
 * Trust is bound to the connection it was proven on: after a reconnect writes may have been missed, so the roots
 * are compared again. An untrusted cache is written to (older versions never replace newer ones there), but no
 * read believes it.
 *
 * @since 0.1.0
 * @category models
 */
export class CacheTier {
  private provenGeneration: number | undefined
  private doubts = 0
  private doubt: string | undefined = "its root has not been compared yet"

  /** Whether items may be there that the archive never had (`sql: false`). */
  mayHoldVolatile = false
  /** When it was last looked for them: under which lease, on which connection. */
  private looked: { readonly lease: string | undefined; readonly generation: number } | undefined

  /** Calls that were not waited for to their end: while there are any, it is not given more. */
  unanswered = 0

  /** Fails while the cache is another archive's, whoever calls: writes, repairs, volatile items, the change stream. */
  readonly service: CacheService

  constructor(given: CacheService) {
    this.service = ownOnly(given, () => this.isOurs)
  }

  get connected(): boolean {
    return this.service.status().connection === "connected"
  }

  /** Whether it is this archive's, as far as is known; what is another one's is not touched. */
  isOurs = true

  /** Whether it may be written to. */
  get usable(): boolean {
    return this.connected && this.isOurs
  }

  /** Whether reads may believe it. */
  get trusted(): boolean {
    const { connection, generation } = this.service.status()
    return this.doubt === undefined && connection === "connected" && generation === this.provenGeneration
  }

  /** Why it is not trusted; `undefined` when it is. */
  get reason(): string | undefined {
    if (this.trusted) return undefined
    const { connection, lastError } = this.service.status()
    if (connection !== "connected")
      return lastError === undefined ? connection : `${connection}: ${lastError}`
    return this.doubt ?? "it has reconnected and its root has not been compared since"
  }

  /** Rises with every doubt: a proof that was begun before a doubt proves nothing. */
  get doubtsSoFar(): number {
    return this.doubts
  }

  /** On this connection nobody has left a sign of volatile items. `lease`: the writer lease by then. */
  foundNoVolatile(lease: string | undefined, generation: number): void {
    this.looked = { lease, generation }
  }

  /**
   * Whether no volatile items can be read from it: there were none when this node looked under its present lease, since
   * when nobody else is registered, or it cannot be read.
   */
  holdsNoVolatile(lease: string | undefined): boolean {
    if (this.mayHoldVolatile) return false
    const { generation } = this.service.status()
    return !this.usable || (this.looked?.generation === generation && this.looked.lease === lease)
  }

  /** Something was not written, or does not match. */
  distrust(reason: string): void {
    this.doubts++
    this.doubt = reason
  }

  /** The roots were equal, on this connection, with no doubt raised since. Says whether it is trusted now. */
  trust(generation: number, doubtsBefore: number): boolean {
    if (this.doubts !== doubtsBefore || this.service.status().generation !== generation) return false
    this.provenGeneration = generation
    this.doubt = undefined
    return true
  }
}

/** Why a cache is left alone. @since 0.1.0 @category constants */
export const othersProblem =
  "it belongs to another archive, whose nodes use the same Redis and prefix; give each archive a REDIS_PREFIX of its own"

const ownOnly = (given: CacheService, isOurs: () => boolean): CacheService => {
  const own =
    (operation: string) =>
    <A>(call: Effect.Effect<A, CacheError>): Effect.Effect<A, CacheError> =>
      Effect.suspend(() =>
        isOurs()
          ? call
          : Effect.fail(
              new CacheError({ operation, kind: "unavailable", problem: othersProblem, retryAfterMs: 1000 })
            )
      )
  return {
    ...given,
    put: (records, options) => own("put")(given.put(records, options)),
    fill: (records) => own("fill")(given.fill(records)),
    repair: (records) => own("repair")(given.repair(records)),
    get: (id) => own("get")(given.get(id)),
    getMany: (ids) => own("getMany")(given.getMany(ids)),
    heads: (ids) => own("heads")(given.heads(ids)),
    deleteMany: (targets) => own("deleteMany")(given.deleteMany(targets)),
    root: own("root")(given.root),
    node: (path) => own("node")(given.node(path)),
    children: (path, page) => own("children")(given.children(path, page)),
    branches: (path, page) => own("branches")(given.branches(path, page)),
    leavesOf: (path, page) => own("leavesOf")(given.leavesOf(path, page)),
    leafRange: (path, range) => own("leafRange")(given.leafRange(path, range)),
    rebuildTree: own("rebuildTree")(given.rebuildTree),
    tidy: own("tidy")(given.tidy),
    reset: own("reset")(given.reset),
    appendChanges: (entries, maxLength) => own("appendChanges")(given.appendChanges(entries, maxLength)),
    readChanges: (after, count) => own("readChanges")(given.readChanges(after, count))
  }
}
