import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Chunk, Effect, Redacted, Stream } from "effect"
import { afterEach, describe, expect, it } from "vitest"
import * as MerkleClient from "../../src/http/client/MerkleClient.js"
import type { MerkleSource } from "../../src/merkle/Source.js"
import { divergence } from "../../src/reconcile/Divergence.js"
import type { ItemRecord } from "../../src/SyncItem.js"
import { emptyContent, emptyContentHash } from "../../src/SyncItem.js"
import { treeSource } from "../reconcile/treeSource.js"
import { closeAll, type Harness, start } from "./Harness.js"

afterEach(closeAll)

const row = (id: string, version = 1): ItemRecord => ({
  id,
  version,
  updatedAt: 1,
  contentType: "binary",
  contentHash: emptyContentHash,
  state: undefined,
  content: emptyContent,
  traceparent: undefined,
  deleted: false
})

const fill = ({ fake }: Harness, rows: Iterable<ItemRecord>) => {
  for (const one of rows) fake.rows.set(one.id, one)
}

const over = <A, E>({ url }: Harness, use: (source: MerkleSource<unknown>) => Effect.Effect<A, E>) =>
  MerkleClient.make({ url, token: Redacted.make("secret") }).pipe(
    Effect.flatMap(use),
    Effect.provide(NodeHttpClient.layerUndici),
    Effect.runPromise
  )

const open = () => start({ token: "secret" })
const headers = { authorization: "Bearer secret" }

describe("the tree over HTTP", () => {
  it("answers branches, leaves, sums and parts in pages", async () => {
    const harness = await open()
    fill(harness, [row("a"), row("a.b"), row("b.c.d"), row("b.e")])
    const get = async (path: string) => (await harness.request(path, { headers })).json
    const source = treeSource([...harness.fake.rows.values()])
    const [a, b] = Effect.runSync(source.branches("", { limit: 9 }))
    expect(await get("/merkle/branches")).toEqual({ branches: [a, b] })
    expect(await get("/merkle/branches?after=a&limit=1")).toEqual({ branches: [b] })
    expect(await get("/merkle/leaves?path=b")).toEqual({
      leaves: Effect.runSync(source.leaves("b", { limit: 9 }))
    })
    expect(await get("/merkle/leaves?path=b&after=e")).toEqual({ leaves: [] })
    const sum = Effect.runSync(source.leafSum("b", {}))
    const hex = sum.sum.toString(16).padStart(64, "0")
    expect(await get("/merkle/sum?path=b&up_to=e")).toEqual({ count: 1, sum: hex, next_after: null })
    expect(await get("/merkle/sum?path=b&up_to=d")).toEqual({
      count: 0,
      sum: "0".repeat(64),
      next_after: null
    })
    expect(await get("/merkle/parts?path=b&size=3")).toEqual({
      parts: [{ up_to: "e", count: 1, sum: hex }],
      next_after: null
    })
  })

  it("refuses what is out of bounds", async () => {
    const harness = await open()
    for (const path of [
      "/merkle/leaves?limit=10001",
      "/merkle/leaves?path=a..b",
      "/merkle/branches?limit=0",
      "/merkle/parts?path=a",
      "/merkle/parts?size=0",
      "/merkle/sum?to=x"
    ]) {
      expect((await harness.request(path, { headers })).status).toBe(400)
    }
    expect((await harness.request("/merkle/leaves")).status).toBe(401)
  })

  it("reads at most 100 000 items and answers at most 1000 parts a request; a client goes on", async () => {
    const harness = await open()
    const rows = Array.from({ length: 100_500 }, (_, i) => row(`w.${String(i).padStart(6, "0")}`))
    fill(harness, rows)
    const tree = treeSource(rows)
    // Made once: the fake would hash all rows for every page.
    Object.assign(harness.fake.service.merkleSource, tree)
    const get = async (path: string) =>
      (await harness.request(path, { headers })).json as {
        count: number
        next_after: string
        parts: Array<object>
      }
    expect(await get("/merkle/sum?path=w")).toMatchObject({ count: 100_000, next_after: "099999" })
    const parts = await get("/merkle/parts?path=w&size=7")
    expect(parts.parts).toHaveLength(1000)
    expect(parts.next_after).toBe("006999")
    const cut = await get("/merkle/parts?path=w&size=90000")
    expect(cut.parts).toMatchObject([{ count: 90_000 }, { count: 10_000 }])
    expect(cut.next_after).toBe("099999")
    const [sum, all] = await over(harness, (source) =>
      Effect.all([source.leafSum("w", {}), source.leafParts("w", {}, 40)])
    )
    expect(sum).toEqual(Effect.runSync(tree.leafSum("w", {})))
    expect(all.reduce((count, part) => count + part.count, 0)).toBe(100_500)
    expect(all.reduce((total, part) => total + part.sum, 0n) % (1n << 256n)).toBe(sum.sum)
  })

  it("is a source of comparisons: finds exactly what differs, in few requests", async () => {
    const harness = await open()
    const rows = Array.from({ length: 5000 }, (_, i) => row(`w.%_é ${i}`))
    const changed = new Map(rows.map((one) => [one.id, one]))
    changed.set("w.%_é 17", row("w.%_é 17", 2))
    changed.delete("w.%_é 4000")
    changed.set("new.one", row("new.one"))
    fill(harness, changed.values())
    Object.assign(harness.fake.service.merkleSource, treeSource(changed.values()))
    const cost = { digests: 0, requests: 0 }
    const nodes = treeSource(changed.values())
    const found = await over(harness, (source) =>
      Stream.runCollect(
        divergence(treeSource(rows), { ...source, node: nodes.node, root: nodes.root }, { cost })
      )
    )
    expect([...Chunk.toReadonlyArray(found)].sort((a, b) => (a.id < b.id ? -1 : 1))).toEqual([
      { id: "new.one", kind: "extra" },
      { id: "w.%_é 17", kind: "changed" },
      { id: "w.%_é 4000", kind: "missing" }
    ])
    expect(cost.requests).toBeLessThan(20)
  })
})
