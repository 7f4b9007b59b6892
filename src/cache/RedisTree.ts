/**
 * The tree in Redis: reading it, rebuilding it, emptying the cache. Plain asynchronous code; failures are
 * `CacheError`s.
 *
 * A rebuild begins a new epoch: from that instant the tree is a new, empty one, and items enter it as they are
 * written or as the rebuild comes to them, each exactly once, because an item carries the epoch of the tree that
 * counts it. So writes need not stop.
 */

import { escapePattern } from "../config/RedisUrl.js"
import { compareBytes } from "../merkle/ByteOrder.js"
import { makeNode, nodeDigest } from "../merkle/Digest.js"
import type { TreeChild, TreeNode } from "../merkle/Tree.js"
import { joinPath } from "../merkle/TreeDelta.js"
import { emptyContentHash } from "../SyncItem.js"
import type { CacheLeaf, LeafRange, LeafSum } from "./Cache.js"
import type { RedisConnection } from "./RedisConnection.js"
import { script } from "./RedisScript.js"
import { digestIn, type Field, headIn, textIn, totalIn } from "./ReplyDecoder.js"
import { packIds } from "./ScriptArguments.js"
import { adoptScript, beginScript, dropScript, endScript, sweepScript, unfinishedScript } from "./scripts.js"
import { childrenScript, leafRangeScript, leavesScript, nodeScript } from "./scriptsRead.js"

const nodeLua = script(nodeScript)
const childrenLua = script(childrenScript)
const leavesLua = script(leavesScript)
const leafRangeLua = script(leafRangeScript)
const adoptLua = script(adoptScript)
const dropLua = script(dropScript)
const sweepLua = script(sweepScript)
const beginLua = script(beginScript)
const endLua = script(endScript)
const unfinishedLua = script(unfinishedScript)

const rangeStep = 1_000
const pageStep = 1_000

const above = (name: string | undefined): string => (name === undefined ? "-" : `(${name}`)

const branchChild = (path: string, name: string, node: Field): TreeChild => {
  const { count, sum } = totalIn(node) ?? { count: 0, sum: 0n }
  return { name, kind: "branch", count, digest: nodeDigest(joinPath(path, name), count, sum) }
}

/** Where a page of children begins. */
export interface ChildrenPage {
  readonly after?: { readonly name: string; readonly kind: "branch" | "leaf" } | undefined
  readonly limit: number
}

export class RedisTree {
  constructor(private readonly connection: RedisConnection) {}

  async node(path: string): Promise<TreeNode | undefined> {
    const total = totalIn((await this.connection.run("tree", nodeLua, [path])) as Field)
    return total === undefined ? undefined : makeNode(path, total)
  }

  /** At most `limit` children; a page is cut to 1,000, and shorter only at the end. */
  async children(path: string, page: ChildrenPage): Promise<Array<TreeChild>> {
    const result: Array<TreeChild> = []
    let { after } = page
    while (result.length < page.limit) {
      const limit = Math.min(page.limit - result.length, pageStep)
      const next = await this.childrenStep(path, after, limit)
      for (const child of next) result.push(child)
      if (next.length < limit) break
      after = next[next.length - 1]!
    }
    return result
  }

  private async childrenStep(
    path: string,
    after: ChildrenPage["after"],
    limit: number
  ): Promise<ReadonlyArray<TreeChild>> {
    const leavesFrom =
      after === undefined ? "-" : after.kind === "branch" ? `[${after.name}` : `(${after.name}`
    const [branches, nodes, leaves, digests] = (await this.connection.run("tree", childrenLua, [
      path,
      above(after?.name),
      leavesFrom,
      limit
    ])) as [ReadonlyArray<Field>, ReadonlyArray<Field>, ReadonlyArray<Field>, ReadonlyArray<Field>]
    const result: Array<TreeChild> = []
    let b = 0
    let l = 0
    while (result.length < limit && (b < branches.length || l < leaves.length)) {
      const branch = b < branches.length ? textIn(branches[b]) : undefined
      const leaf = l < leaves.length ? textIn(leaves[l]) : undefined
      if (leaf === undefined || (branch !== undefined && compareBytes(branch, leaf) <= 0)) {
        result.push(branchChild(path, branch!, nodes[b]))
        b += 1
      } else {
        result.push({ name: leaf, kind: "leaf", count: 1, digest: digestIn(digests[l]) })
        l += 1
      }
    }
    return result
  }

  /** At most `limit` branches, cut to 1,000. */
  async branches(
    path: string,
    page: { readonly after?: string | undefined; readonly limit: number }
  ): Promise<ReadonlyArray<TreeChild>> {
    // Leaves from beyond the last name: none.
    const [names, nodes] = (await this.connection.run("tree", childrenLua, [
      path,
      above(page.after),
      "+",
      Math.min(page.limit, pageStep)
    ])) as [ReadonlyArray<Field>, ReadonlyArray<Field>]
    return names.map((field, index) => branchChild(path, textIn(field), nodes[index]))
  }

  async leavesOf(
    path: string,
    page: { readonly after?: string | undefined; readonly limit: number }
  ): Promise<Array<CacheLeaf>> {
    const result: Array<CacheLeaf> = []
    let { after } = page
    while (result.length < page.limit) {
      const limit = Math.min(page.limit - result.length, pageStep)
      const reply = (await this.connection.run("tree", leavesLua, [
        path,
        above(after),
        limit
      ])) as ReadonlyArray<Field>
      for (let i = 0; i < reply.length; i += 3) {
        after = textIn(reply[i])
        const id = joinPath(path, after)
        const head = headIn(id, reply[i + 1])
        const digest = digestIn(reply[i + 2])
        if (typeof head === "object") result.push({ ...head, digest })
        else result.push({ id, version: 0, contentHash: emptyContentHash, deleted: false, digest })
      }
      if (reply.length < limit * 3) break
    }
    return result
  }

  async leafRange(path: string, range: LeafRange): Promise<LeafSum> {
    const to = range.upTo === undefined ? "+" : `[${range.upTo}`
    let from = above(range.after)
    let count = 0
    let sum = 0n
    for (;;) {
      const [listed, last, node] = (await this.connection.run("tree", leafRangeLua, [
        path,
        from,
        to,
        rangeStep
      ])) as [number, Field, Field]
      const total = totalIn(node)
      if (total === undefined) throw new TypeError("the server answered a range without its sum")
      count += total.count
      sum += total.sum
      if (listed < rangeStep) return { count, sum: BigInt.asUintN(256, sum) }
      from = above(textIn(last))
    }
  }

  /** Begins an epoch and lets every item enter it that was in a tree before. */
  async rebuild(epoch: string): Promise<void> {
    await this.begin("rebuild", epoch)
    await this.finish("rebuild", epoch)
  }

  /** Begins an epoch and removes every item that has not entered it; returns how many were removed. */
  async reset(epoch: string): Promise<number> {
    await this.begin("reset", epoch)
    return this.finish("reset", epoch)
  }

  /** Ends what was begun and broken off; says whether there was anything. */
  async tidy(): Promise<boolean> {
    const [epoch, what] = (await this.connection.run("tidy", unfinishedLua, [])) as ReadonlyArray<Field>
    if (epoch === undefined) return false
    await this.finish(textIn(what) === "reset" ? "reset" : "rebuild", textIn(epoch))
    return true
  }

  private get prefix(): string {
    return this.connection.options.keyPrefix
  }

  private async begin(what: "rebuild" | "reset", epoch: string): Promise<void> {
    await this.connection.run(what, beginLua, [epoch, what])
    this.connection.expectEpoch(epoch)
  }

  /** Every step may be done twice, also by two nodes at once: an item knows the epoch of the tree that counts it. */
  private async finish(what: "rebuild" | "reset", epoch: string): Promise<number> {
    const items = await this.eachItem(what, epoch, what === "rebuild" ? adoptLua : dropLua)
    await this.sweep(what, epoch)
    await this.connection.run(what, endLua, [epoch])
    return items
  }

  private async eachItem(operation: string, epoch: string, lua: typeof adoptLua): Promise<number> {
    const skip = this.prefix.length + "item:".length
    let total = 0
    let superseded = false
    await this.connection.scan(
      operation,
      `${escapePattern(this.prefix)}item:*`,
      async (keys) => {
        const ids = keys.map((key) => key.slice(skip))
        const answer = await this.connection.run(operation, lua, [epoch, packIds(ids, 0, ids.length)])
        if (answer === -1) superseded = true
        else total += answer as number
      },
      () => superseded
    )
    return total
  }

  private async sweep(operation: string, epoch: string): Promise<void> {
    let superseded = false
    for (const kind of ["tree:", "branches:", "leaves:"]) {
      const current = `${this.prefix}${kind}${epoch}:`
      await this.connection.scan(
        operation,
        `${escapePattern(this.prefix)}${kind}*`,
        async (keys) => {
          const old = keys.filter((key) => !key.startsWith(current))
          if (old.length === 0) return
          if ((await this.connection.run(operation, sweepLua, [epoch, ...old])) === -1) superseded = true
        },
        () => superseded
      )
    }
  }
}
