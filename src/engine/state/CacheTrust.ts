/** The cache as the engine sees it: the service, whose it is, and whether its content has been proven. */
import { Effect } from "effect"
import { CacheError, type CacheService } from "../../cache/Cache.js"
import { CacheMisses } from "./CacheMisses.js"

/** Whether the cache is this archive's. */
export type CacheOwner = "ours" | "another's" | "unknown"

interface Claim {
  readonly isOurs: boolean
  readonly generation: number
  readonly untilMs: number
}

const notCompared = "it has been connected or claimed again, and its root has not been compared since"

/**
 * Whose it is, is known only on the connection on which it was claimed and for as long as the claim lasts: behind
 * another connection may be another server, and after the claim another archive may have come. Until then it is
 * neither read nor written. Trust ends with the claim too: writes may have been missed, so the roots are compared again.
 * An untrusted cache is written to (older versions never replace newer ones there), but no read believes it.
 */
export class CacheTrust {
  private claim: Claim | undefined
  private doubts = 0
  private doubt: string | undefined = "its root has not been compared yet"

  /** Whether items may be there that the archive never had (`sql: false`). */
  mayHoldVolatile = false
  /** When it was last looked for them: under which lease, on which connection. */
  private looked: { readonly lease: string | undefined; readonly generation: number } | undefined

  /** Calls that were not waited for to their end: while there are any, it is not given more. */
  unanswered = 0
  /** Background fills under way. */
  fills = 0

  /** Fails unless the cache is this archive's, whoever calls: writes, repairs, volatile items, the change stream. */
  readonly service: CacheService

  /** @param elapsedMs when there is an archive to claim it for: milliseconds that only go on */
  constructor(
    given: CacheService,
    private readonly elapsedMs?: () => number,
    /** What it has missed, also before it was opened. */
    readonly misses = new CacheMisses()
  ) {
    this.service = ownOnly(given, () => this.owner)
  }

  get connected(): boolean {
    return this.service.status().connection === "connected"
  }

  /** Without an archive there is nothing that another one's items could be taken for. */
  get owner(): CacheOwner {
    const { claim, elapsedMs } = this
    if (elapsedMs === undefined) return "ours"
    if (claim?.generation !== this.service.status().generation || elapsedMs() >= claim.untilMs)
      return "unknown"
    return claim.isOurs ? "ours" : "another's"
  }

  /** What a claim has found that was begun in this generation. */
  claimed(isOurs: boolean, generation: number, untilMs: number): void {
    if (generation !== this.service.status().generation) return
    // Until now nobody could say who writes to it.
    if (this.owner !== "ours") this.distrust(this.doubt ?? notCompared)
    this.claim = { isOurs, generation, untilMs }
  }

  /** Whether it may be written to. */
  get usable(): boolean {
    return this.connected && this.owner === "ours"
  }

  /** Whether reads may believe it. */
  get trusted(): boolean {
    return this.doubt === undefined && this.usable
  }

  /** Why it is not trusted; `undefined` when it is. */
  get reason(): string | undefined {
    if (this.trusted) return undefined
    const { connection, lastError } = this.service.status()
    if (connection !== "connected")
      return lastError === undefined ? connection : `${connection}: ${lastError}`
    return this.doubt ?? notCompared
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
    if (!this.connected || this.owner === "another's") return true
    return this.looked?.generation === generation && this.looked.lease === lease
  }

  /** Something was not written, or does not match. */
  distrust(reason: string): void {
    this.doubts++
    this.doubt = reason
  }

  /** The roots were equal, on this connection, with no doubt raised since. Says whether it is trusted now. */
  trust(generation: number, doubtsBefore: number): boolean {
    if (this.doubts !== doubtsBefore || this.service.status().generation !== generation) return false
    this.doubt = undefined
    this.misses.clear()
    return true
  }
}

/** Why a cache is left alone. */
export const othersProblem =
  "it belongs to another archive, whose nodes use the same Redis and prefix; give each archive a REDIS_PREFIX of its own"

const unknownProblem = "whose it is has not been found out yet"

/** What may be asked of any cache. */
const open = new Set(["status", "changes", "connect", "claim", "takeCorrupted"])

const ownOnly = (given: CacheService, ownerNow: () => CacheOwner): CacheService => {
  const own = (operation: string, call: Effect.Effect<unknown, CacheError>) =>
    Effect.suspend(() => {
      const owner = ownerNow()
      if (owner === "ours") return call
      const problem = owner === "unknown" ? unknownProblem : othersProblem
      return Effect.fail(new CacheError({ operation, kind: "unavailable", problem, retryAfterMs: 1000 }))
    })
  // An application's cache may be an instance of a class: its methods are found, and see their `this`.
  return new Proxy(given, {
    get: (_, key) => {
      const member: unknown = Reflect.get(given, key)
      const name = String(key)
      if (typeof member === "function") {
        return (...args: ReadonlyArray<unknown>) => {
          const result: unknown = Reflect.apply(member, given, args)
          return open.has(name) ? result : own(name, result as Effect.Effect<unknown, CacheError>)
        }
      }
      return open.has(name) ? member : own(name, member as Effect.Effect<unknown, CacheError>)
    }
  })
}
