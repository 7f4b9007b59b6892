/**
 * The tree in Redis: reading it, rebuilding it, emptying the cache.
 *
 * A rebuild begins a new epoch: from that instant the tree is a new, empty one, and items enter it as they are
 * written or as the rebuild comes to them, each exactly once, because an item carries the epoch of the tree that
 * counts it. So writes need not stop.
 */
import { Effect, Option } from "effect"
import { compareBytes } from "../merkle/ByteOrder.js"
import { emptyRoot, leafDigest, makeNode, nodeDigest, sumToHex } from "../merkle/Digest.js"
import { compareChildren } from "../merkle/MerkleTree.js"
import type { LeafHead } from "../merkle/Source.js"
import type { TreeChild } from "../merkle/Tree.js"
import { joinPath, zero } from "../merkle/TreeDelta.js"
import { maxIdBytes } from "../SyncItem.js"
import type { CacheError, CacheService } from "./Cache.js"
import { valueHeadIn } from "./ItemValue.js"
import { childrenScript, leavesScript, nodeScript } from "./ReadScripts.js"
import type { RedisConnection } from "./RedisConnection.js"
import type { RedisWrites } from "./RedisWrites.js"
import { bytesIn, type Field, textIn, totalIn } from "./ReplyDecoder.js"
import { encodeIds } from "./ScriptArguments.js"
import { beginScript, dropScript, endScript, sweepScript, unfinishedScript } from "./WriteScripts.js"

const pageStep = 1_000
/** What stands for the digest of a leaf that is listed, but not there. */
const gone = sumToHex(0n)

/** Bounds of ZRANGEBYLEX. */
const above = (name: string | undefined): string => (name === undefined ? "-" : `(${name}`)
const upTo = (name: string | undefined): string => (name === undefined ? "+" : `[${name}`)
/** From beyond the last name. */
const none = "+"

/** What begins an epoch. */
type Work = "rebuild" | "reset"

type Fields = ReadonlyArray<Field>

export class RedisTree {
  constructor(
    private readonly connection: RedisConnection,
    private readonly writes: RedisWrites
  ) {}

  readonly node: CacheService["node"] = (path) =>
    this.connection.run(
      "node",
      nodeScript,
      () => [path],
      (node: Field) => Option.map(Option.fromNullable(totalIn(node)), (total) => makeNode(path, total))
    )

  readonly root: CacheService["root"] = Effect.map(
    Effect.suspend(() => this.node("")),
    Option.match({ onNone: () => emptyRoot, onSome: ({ digest }) => digest })
  )

  readonly children: CacheService["children"] = (path, { after, limit }) =>
    this.pages(path, limit, after, (last) => [
      above(last?.name),
      last?.kind === "branch" ? `[${last.name}` : above(last?.name),
      none
    ])

  readonly branches: CacheService["branches"] = (path, { after, limit }) =>
    this.pages(path, limit, named(after, "branch"), (last) => [above(last?.name), none, none])

  /** In steps of 1,000. A list that does not go forward ends there: its tree is damaged. */
  readonly leaves: CacheService["leaves"] = (path, { after, limit, upTo: to }) =>
    Effect.gen(this, function* () {
      const found: Array<LeafHead> = []
      for (let before = after; found.length < limit; ) {
        const step = Math.min(limit - found.length, pageStep)
        const page = yield* this.connection.run(
          "leaves",
          leavesScript,
          () => [path, above(before), upTo(to), step],
          (reply: Field) => leavesIn(path, reply)
        )
        const last = page.at(-1)
        if (last === undefined || (before !== undefined && compareBytes(last.name, before) <= 0)) break
        for (const leaf of page) found.push(leaf)
        if (page.length < step) break
        before = last.name
      }
      return found
    })

  /** At most `limit` children, in steps of 1,000. A list that does not go forward ends there: its tree is damaged. */
  private pages(
    path: string,
    limit: number,
    after: Place | undefined,
    boundsAfter: (last: Place | undefined) => readonly [branches: string, leaves: string, lastLeaf: string]
  ): Effect.Effect<ReadonlyArray<TreeChild>, CacheError> {
    return Effect.gen(this, function* () {
      const found: Array<TreeChild> = []
      while (found.length < limit) {
        const step = Math.min(limit - found.length, pageStep)
        const last = found.at(-1) ?? after
        const page = yield* this.connection.run(
          "children",
          childrenScript,
          () => [path, ...boundsAfter(last), step],
          (reply: [Fields, Fields, Fields, Fields]) => childrenIn(path, reply).slice(0, step)
        )
        const behind = last === undefined ? page : page.filter((child) => compareChildren(child, last) > 0)
        for (const child of behind) found.push(child)
        if (page.length < step || behind.length === 0) break
      }
      return found
    })
  }

  readonly leafSum: CacheService["leafSum"] = (path, { after, upTo }) =>
    Effect.gen(this, function* () {
      let count = 0
      let sum = 0n
      for (let last = after; ; ) {
        const page = yield* this.leaves(path, { after: last, upTo, limit: pageStep })
        for (const { digest } of page) {
          if (digest === gone) continue
          count++
          sum += BigInt(`0x${digest}`)
        }
        if (page.length < pageStep) return { count, sum: BigInt.asUintN(256, sum) }
        last = page.at(-1)!.name
      }
    })

  /** Begins an epoch; items that were in a tree before enter it, or are removed. Returns how many. */
  readonly begin = (work: Work, epoch: string): Effect.Effect<number, CacheError> =>
    Effect.zipRight(
      this.connection.run(
        work,
        beginScript,
        () => [epoch, work],
        () => this.connection.expectEpoch(epoch)
      ),
      this.finish(work, epoch)
    )

  /** Ends what was begun and broken off; says whether there was anything. */
  readonly tidy: CacheService["tidy"] = Effect.suspend(() =>
    this.connection.run(
      "tidy",
      unfinishedScript,
      () => [],
      (reply: Fields) => reply.map(textIn)
    )
  ).pipe(
    Effect.flatMap(([epoch, work]) =>
      epoch === undefined
        ? Effect.succeed(false)
        : Effect.as(this.finish(work === "reset" ? "reset" : "rebuild", epoch), true)
    )
  )

  /** Every step may be done twice, also by two nodes at once: an item knows the epoch of the tree that counts it. */
  private finish(work: Work, epoch: string): Effect.Effect<number, CacheError> {
    return Effect.gen(this, function* () {
      const { connection } = this
      let items = 0
      const counted = (done: number) => {
        items += Math.max(0, done)
        return enoughAt(done)
      }
      yield* connection.scan(work, "item:", (keys) => {
        const ids = keys.map((key) => key.slice("item:".length))
        return work === "rebuild"
          ? Effect.map(this.writes.adopt(epoch, ids), counted)
          : connection.run(work, dropScript, () => [epoch, encodeIds(ids)], counted)
      })
      for (const kind of ["tree:", "branches:", "leaves:"]) {
        yield* connection.scan(work, kind, (keys) => {
          const old = keys.filter((key) => !key.startsWith(`${kind}${epoch}:`))
          return old.length === 0
            ? Effect.succeed("more")
            : connection.run(work, sweepScript, () => [epoch, ...old], enoughAt)
        })
      }
      yield* connection.run(work, endScript, () => [epoch])
      return items
    })
  }
}

/** Another one took over. */
const enoughAt = (done: number): "enough" | "more" => (done === -1 ? "enough" : "more")

type Place = Pick<TreeChild, "name" | "kind">

const named = (name: string | undefined, kind: Place["kind"]): Place | undefined =>
  name === undefined ? undefined : { name, kind }

const childrenIn = (path: string, reply: [Fields, Fields, Fields, Fields]): Array<TreeChild> => {
  const [branches, nodes, leaves, heads] = reply
  const children: Array<TreeChild> = []
  for (const [index, field] of branches.entries()) {
    const name = textIn(field)
    const id = joinPath(path, name)
    // No item can be below: a damaged tree might go down for ever.
    if (Buffer.byteLength(id) > maxIdBytes) continue
    const { count, sum } = totalIn(nodes[index]) ?? zero
    children.push({ name, kind: "branch", count, digest: nodeDigest(id, count, sum) })
  }
  for (const [index, field] of leaves.entries()) {
    const name = textIn(field)
    children.push({ name, kind: "leaf", count: 1, digest: digestIn(path, name, bytesIn(heads[index])) })
  }
  return children.sort(compareChildren)
}

const digestIn = (path: string, name: string, value: Buffer): string => {
  const head = value.length === 0 ? undefined : valueHeadIn(joinPath(path, name), value)
  return head === undefined ? gone : leafDigest(head)
}

const leavesIn = (path: string, bytes: Field): ReadonlyArray<LeafHead> => {
  if (!(bytes instanceof Buffer)) throw new TypeError("the server returned no list of leaves")
  const leaves: Array<LeafHead> = []
  for (let at = 0; at < bytes.length; ) {
    const nameAt = at + 2
    const headAt = nameAt + bytes.readUInt16BE(at) + 2
    const end = headAt + bytes.readUInt16BE(headAt - 2)
    const name = bytes.toString("utf8", nameAt, headAt - 2)
    leaves.push({ name, digest: digestIn(path, name, bytes.subarray(headAt, end)) })
    at = end
  }
  return leaves
}
