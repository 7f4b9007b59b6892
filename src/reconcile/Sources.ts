/**
 * The archive's and the cache's trees as sources of a comparison.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Archive, ArchiveError } from "../archive/Archive.js"
import type { CacheError, CacheService } from "../cache/Cache.js"
import { compareBytes } from "../merkle/ByteOrder.js"
import type { LeafHead, LeafPart, MerkleSource, NameRange } from "../merkle/Source.js"
import { splitPath } from "../merkle/TreeDelta.js"

const leavesPerPage = 2000

type Leaves<E> = MerkleSource<E>["leaves"]

const sumOf = (digest: string): bigint => BigInt(`0x${digest}`)

/** Reads all leaves of a range, page by page. */
const eachPage = <E>(
  leaves: Leaves<E>,
  path: string,
  range: NameRange,
  visit: (page: ReadonlyArray<LeafHead>) => void
): Effect.Effect<void, E> =>
  Effect.gen(function* () {
    let { after } = range
    for (;;) {
      const page = yield* leaves(path, { after, upTo: range.upTo, limit: leavesPerPage })
      visit(page)
      if (page.length < leavesPerPage) return
      after = page[page.length - 1]!.name
    }
  })

/** Parts of a range by reading its leaves once. */
const partsByReading =
  <E>(leaves: Leaves<E>): MerkleSource<E>["leafParts"] =>
  (path, range, size) =>
    Effect.suspend(() => {
      const parts: Array<LeafPart> = []
      let count = 0
      let sum = 0n
      let upTo = ""
      const close = () => {
        if (count > 0) parts.push({ upTo, count, sum: BigInt.asUintN(256, sum) })
        count = 0
        sum = 0n
      }
      return Effect.map(
        eachPage(leaves, path, range, (page) => {
          for (const leaf of page) {
            count++
            sum += sumOf(leaf.digest)
            upTo = leaf.name
            if (count >= size) close()
          }
        }),
        () => {
          close()
          return parts
        }
      )
    })

const sumByReading =
  <E>(leaves: Leaves<E>): MerkleSource<E>["leafSum"] =>
  (path, range) =>
    Effect.suspend(() => {
      let count = 0
      let sum = 0n
      return Effect.map(
        eachPage(leaves, path, range, (page) => {
          count += page.length
          for (const leaf of page) sum += sumOf(leaf.digest)
        }),
        () => ({ count, sum: BigInt.asUintN(256, sum) })
      )
    })

const within = (name: string, upTo: string | undefined): boolean =>
  upTo === undefined || compareBytes(name, upTo) <= 0

/** @since 0.1.0 @category constructors */
export const ofArchive = (archive: Context.Tag.Service<Archive>): MerkleSource<ArchiveError> => {
  const leaves: Leaves<ArchiveError> = (path, page) =>
    Effect.gen(function* () {
      const found: Array<LeafHead> = []
      let after: { readonly name: string; readonly kind: "branch" | "leaf" } | undefined =
        page.after === undefined ? undefined : { name: page.after, kind: "leaf" }
      while (found.length < page.limit) {
        const limit = page.limit - found.length
        const children = yield* archive.children(path, { after, limit })
        for (const child of children) {
          if (!within(child.name, page.upTo)) return found
          if (child.kind === "leaf") found.push({ name: child.name, digest: child.digest })
        }
        if (children.length < limit) return found
        after = children[children.length - 1]!
      }
      return found
    })
  return {
    root: archive.root,
    node: archive.node,
    branches: archive.branches,
    leaves,
    leafSum: sumByReading(leaves),
    leafParts: partsByReading(leaves)
  }
}

/** @since 0.1.0 @category constructors */
export const ofCache = (cache: CacheService): MerkleSource<CacheError> => {
  const leaves: Leaves<CacheError> = (path, page) =>
    Effect.map(cache.leavesOf(path, { after: page.after, limit: page.limit }), (found) =>
      found.flatMap(({ digest, id }) => {
        const { name } = splitPath(id)
        return within(name, page.upTo) ? [{ name, digest }] : []
      })
    )
  return {
    root: cache.root,
    node: cache.node,
    branches: cache.branches,
    leaves,
    leafSum: cache.leafRange,
    leafParts: partsByReading(leaves)
  }
}
