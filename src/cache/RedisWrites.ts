/**
 * Guarded writes of items in Redis. What a call changes is decided and added up here, from what is held there; the
 * script writes all of it, or nothing when something is not as it was assumed. Then it says what is there instead, and
 * the decision is made again. So the tree describes the items in whatever order several nodes write, slow readers fill
 * and rebuilds go on; and whoever has to try again does so because another one has written.
 *
 * Rejected: deciding in the script. It costs the server, one thread for all nodes, twice the time, and the digest of
 * every leaf would have to be stored beside the item.
 */
import { Effect } from "effect"
import type { TreeChange } from "../merkle/TreeDelta.js"
import type { ItemHead, ItemRecord } from "../SyncItem.js"
import { CacheError, type PutMode, type PutResult, type Removal } from "./Cache.js"
import { epochNumber, type Held, heldIn, ItemChanges, nothingHeld } from "./ItemChanges.js"
import { decidePut } from "./PutDecision.js"
import { headsScript } from "./ReadScripts.js"
import type { RedisConnection } from "./RedisConnection.js"
import { batchesOf, inTurns } from "./RedisItems.js"
import { bytesIn, type Field, textIn } from "./ReplyDecoder.js"
import { type ChunkLimits, chunkStarts, encodeIds } from "./ScriptArguments.js"
import { changeScript } from "./WriteScripts.js"

const removeBatch = 500
/** Each time another one has written the same items in between. */
const mostTries = 20

/** What the script has found instead of what was assumed. */
type Found = Map<string, Held>

/** How changes are made. */
interface Attempt<A> {
  readonly operation: string
  readonly ids: ReadonlyArray<string>
  /** Milliseconds, for items that expire. */
  readonly ttlMs?: number
  /** Decides, given what is held; synchronous, and called again when it is something else. */
  readonly plan: (changes: ItemChanges, heldOf: (id: string) => Held) => A
  /** What is most likely held, so that it need not be asked for first. */
  readonly guess?: ((id: string, mark: number) => Held) | undefined
  /** What the changes add to the tree if the guess is right. */
  readonly delta?: TreeChange["delta"] | undefined
  /** For this epoch only; another one ends the attempts without a result. */
  readonly epoch?: string | undefined
}

export class RedisWrites {
  /** The tree that the server has named last. */
  private epoch = ""

  constructor(
    private readonly connection: RedisConnection,
    private readonly limits: ChunkLimits,
    private readonly tombstoneTtlMs: number,
    private readonly nextEpoch: () => string
  ) {}

  put(
    mode: PutMode,
    records: ReadonlyArray<ItemRecord>,
    ttlMs: number,
    change?: TreeChange
  ): Effect.Effect<PutResult, CacheError> {
    return Effect.suspend(() => {
      const starts = chunkStarts(records, this.limits)
      const parts = starts.map((from, n) => records.slice(from, starts[n + 1] ?? records.length))
      // What a read has just found missing is not there yet, and an item of the cache alone is mostly new.
      const guess = change ? beforeIn(change) : mode === "fill" || ttlMs > 0 ? absent : undefined
      const put = (part: ReadonlyArray<ItemRecord>) =>
        this.change({
          operation: mode,
          ids: part.map(({ id }) => id),
          ttlMs,
          guess,
          delta: parts.length === 1 ? change?.delta : undefined,
          plan: (changes, heldOf) => planPut(mode, part, ttlMs > 0, changes, heldOf)
        })
      return Effect.map(inTurns(parts, put), (results) => ({
        applied: results.reduce((sum, { applied }) => sum + applied, 0),
        same: results.reduce((sum, { same }) => sum + same, 0),
        newer: results.flatMap(({ newer }) => newer)
      }))
    })
  }

  remove(targets: ReadonlyArray<Removal>): Effect.Effect<number, CacheError> {
    const newest = new Map<string, number>()
    for (const { id, version = Number.POSITIVE_INFINITY } of targets) {
      newest.set(id, Math.max(version, newest.get(id) ?? 0))
    }
    const remove = (ids: ReadonlyArray<string>) =>
      this.change({
        operation: "delete",
        ids,
        plan: (changes, heldOf) => {
          let gone = 0
          for (const id of ids) {
            const held = heldOf(id)
            if (held.head !== undefined && held.head.version > newest.get(id)!) continue
            changes.remove(id, held)
            if (held !== nothingHeld) gone++
          }
          return gone
        }
      })
    return Effect.map(inTurns(batchesOf([...newest.keys()], removeBatch), remove), (gone) =>
      gone.reduce((sum, one) => sum + one, 0)
    )
  }

  /**
   * Lets items that are there enter the tree of this epoch, as they stand, and removes what is damaged. Returns how many
   * entered, or -1 when another rebuild took over.
   */
  adopt(epoch: string, some: ReadonlyArray<string>): Effect.Effect<number, CacheError> {
    const ids = [...new Set(some)]
    const adopted = this.change<number | undefined>({
      operation: "rebuild",
      ids,
      epoch,
      plan: (changes, heldOf) => {
        let entered = 0
        for (const id of ids) {
          const held = heldOf(id)
          const { head } = held
          if (head === undefined) changes.remove(id, held)
          else if (head.epoch !== 0 && !changes.counts(held)) {
            changes.adopt(id, held)
            entered++
          }
        }
        return entered
      }
    })
    return Effect.map(adopted, (entered) => entered ?? -1)
  }

  private change<A>(attempt: Attempt<A> & { readonly epoch?: undefined }): Effect.Effect<A, CacheError>
  private change<A>(attempt: Attempt<A>): Effect.Effect<A | undefined, CacheError>
  private change<A>({ delta, epoch, guess, ids, operation, plan, ttlMs = 0 }: Attempt<A>) {
    return Effect.gen(this, function* () {
      const found: Found = new Map()
      let guessing = guess
      let asked = false
      for (let tries = 0; tries < mostTries; tries++) {
        if (guessing === undefined && !asked) {
          for (const [id, held] of yield* this.held(operation, ids)) found.set(id, held)
          asked = true
        }
        const fresh = this.nextEpoch()
        const assumed = epoch ?? (this.epoch || fresh)
        let result: A | undefined
        const reply = yield* this.connection.run(
          operation,
          changeScript,
          () => {
            const mark = epochNumber(assumed)
            const right = guessing !== undefined && found.size === 0
            const changes = new ItemChanges(assumed, right ? delta : undefined)
            result = plan(changes, (id) => found.get(id) ?? guessing?.(id, mark) ?? nothingHeld)
            return [assumed, fresh, ttlMs, this.tombstoneTtlMs, ...changes.encode()]
          },
          changeReply
        )
        if (reply === "written") return result
        if (typeof reply === "string") {
          if (epoch !== undefined) return undefined
          // Nothing that was held counts in another tree.
          if (this.epoch !== "") guessing = undefined
          this.epoch = reply
        } else for (const [id, held] of reply) found.set(id, held)
      }
      return yield* new CacheError({
        operation,
        kind: "refused",
        problem: `others have changed the same items ${mostTries} times in between`,
        retryAfterMs: 1000
      })
    })
  }

  private held(operation: string, ids: ReadonlyArray<string>): Effect.Effect<Found, CacheError> {
    return this.connection.run(
      operation,
      headsScript,
      () => [encodeIds(ids)],
      (reply: ReadonlyArray<Field>) => {
        if (!Array.isArray(reply) || reply.length !== ids.length) {
          throw new TypeError("the server returned nothing for a read")
        }
        return new Map(ids.map((id, n) => [id, heldIn(id, bytesIn(reply[n]))]))
      }
    )
  }
}

const absent = (): Held => nothingHeld

/** What the archive held before, which the cache is to hold as well. */
const beforeIn =
  ({ before }: TreeChange) =>
  (id: string, mark: number): Held => {
    const head = before.get(id)
    if (head === undefined) return nothingHeld
    const { contentHash, deleted, updatedAt, version } = head
    const stamp = { epoch: deleted ? 0 : mark, version, updatedAt, contentHash }
    return { stamp, head: undefined, bytes: undefined }
  }

const planPut = (
  mode: PutMode,
  records: ReadonlyArray<ItemRecord>,
  expires: boolean,
  changes: ItemChanges,
  heldOf: (id: string) => Held
): PutResult => {
  const newer: Array<ItemHead> = []
  let applied = 0
  let same = 0
  for (const record of records) {
    const held = heldOf(record.id)
    const { head } = held
    const decision = decidePut(mode, record, head, changes.counts(held), expires)
    if (decision === "newer") {
      const { contentHash, deleted, id, version } = head!
      newer.push({ id, version, contentHash, deleted })
      continue
    }
    if (decision === "applied") applied++
    else same++
    if (decision === "kept") continue
    const keepsTime = mode === "fill" && head !== undefined && head.epoch === 0 && !head.deleted
    const how = record.deleted ? "tombstone" : expires ? "expiring" : keepsTime ? "keepingTime" : "inTree"
    changes.write(record, held, how, record.version === head?.version)
  }
  return { applied, same, newer }
}

const changeReply = (reply: Field | ReadonlyArray<Field>): string | Found => {
  if (reply === 1) return "written"
  if (reply instanceof Buffer && /^.[0-9a-f]{8}$/.test(textIn(reply))) return textIn(reply)
  if (!Array.isArray(reply) || reply.length === 0 || reply.length % 2 !== 0) {
    throw new TypeError("the server returned nothing for a write")
  }
  const found: Found = new Map()
  for (let i = 0; i < reply.length; i += 2) {
    const id = textIn(reply[i])
    found.set(id, heldIn(id, bytesIn(reply[i + 1])))
  }
  return found
}
