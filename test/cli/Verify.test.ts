import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { contentHashOf } from "../../src/SyncItem.js"
import { cli, makeWorld, type World, withDaemon } from "./support.js"

type Run = (...args: ReadonlyArray<string>) => Promise<{ code: number; out: string; err: string }>

const against = (world: World, use: (run: Run, url: string) => Promise<void>) =>
  Effect.runPromise(
    withDaemon(world, ({ env }) =>
      Effect.promise(() =>
        use((...args) => Effect.runPromise(cli(world, args, { env })), env.SYNC_ENGINE_URL ?? "")
      )
    )
  )

const fill = async (run: Run) => {
  for (const id of ["a.1", "a.2", "b"]) expect((await run("put", id, "--content", `"${id}"`)).code).toBe(0)
  expect((await run("flush")).code).toBe(0)
}

const damage = (world: World) => {
  const row = world.state.records.get("a.1")!
  world.state.records.set("a.1", { ...row, content: Buffer.from("zzz") })
}

const six = ["in_sync", "archive_root", "recomputed_root", "cache_root", "rows_checked", "differences"]

describe("verify", () => {
  it("says six things by default, and more when more was asked for", () =>
    against(makeWorld(), async (run) => {
      await fill(run)
      const plain = JSON.parse((await run("verify", "--json")).out)
      expect(Object.keys(plain)).toEqual(six)
      expect(plain).toMatchObject({ in_sync: true, rows_checked: 3, differences: [] })
      const more = JSON.parse((await run("verify", "--rows", "--contents", "--json")).out)
      expect(more).toMatchObject({
        in_sync: true,
        complete: true,
        rows_checked: 3,
        contents_checked: 3,
        values_checked: 0,
        differences_total: 0,
        unchecked: []
      })
      const budget = JSON.parse((await run("verify", "--rows", "--budget-rows", "2", "--json")).out)
      expect(budget).toMatchObject({ in_sync: true, complete: false, recomputed_root: null, rows_checked: 2 })
      expect((await run("verify", "--budget-time", "5m", "--roots")).out).toMatch(
        /^in sync +yes\ncomplete +yes\n/
      )
    }))

  it("lists what differs and ends with 1", async () => {
    const world = makeWorld()
    await against(world, async (run) => {
      await fill(run)
      damage(world)
      const result = await run("verify", "--contents")
      expect(result.code).toBe(1)
      expect(result.out).toMatch(/\ndifferences +1\narchive {2}content {2}changed {2}a\.1\n$/)
      expect(result.err).toBe("sync-engine: the archive holds damaged bytes\n")
      const json = await run("verify", "--contents", "--differences", "0", "--json")
      expect(json.code).toBe(1)
      expect(JSON.parse(json.out)).toMatchObject({ in_sync: false, differences: [], differences_total: 1 })
    })
  })

  it("refuses values that make no sense, before anything is done", () =>
    against(makeWorld(), async (run) => {
      for (const [args, message] of [
        [["--sample", "0"], "option --sample"],
        [["--values", "some"], "option --values"],
        [["--budget-rows", "x"], "option --budget-rows"],
        [["--budget-time", "soon"], "option --budget-time"],
        [["--budget-time", "0s"], "option --budget-time"],
        [["--under", "a"], "--under goes with --against"],
        [["--against", "http://127.0.0.1:1", "--rows"], "--against compares trees"],
        [["--against", "ftp://x"], "is not an http:// or https:// URL"],
        [["--against", "http://127.0.0.1:1", "--under", "a..b"], "option --under"]
      ] as const) {
        const result = await run("verify", ...args)
        expect([args, result.code, result.out]).toEqual([args, 2, ""])
        expect(result.err).toContain(message)
      }
    }))
})

describe("verify --against", () => {
  it("lists the items that another daemon holds otherwise", async () => {
    const [here, there] = [makeWorld(), makeWorld()]
    await against(here, async (run) => {
      await fill(run)
      for (const [id, record] of here.state.records) there.state.records.set(id, record)
      there.state.tree.apply(there.state.live().map((record) => ({ id: record.id, after: record })))
      await against(there, async (other, url) => {
        const same = await run("verify", "--against", url, "--json")
        expect(same.code).toBe(0)
        expect(JSON.parse(same.out)).toMatchObject({ in_sync: true, differences: [], differences_total: 0 })
        await other("put", "a.1", "--content", "1")
        await other("delete", "b")
        await run("put", "a.new", "--content", "1")
        const result = await run("verify", "--against", url, "--json")
        expect(result.code).toBe(1)
        const found = JSON.parse(result.out)
        expect(Object.keys(found)).toEqual([
          "in_sync",
          "archive_root",
          "against_root",
          "differences",
          "differences_total"
        ])
        expect(found.archive_root).not.toBe(found.against_root)
        expect(found.differences).toHaveLength(3)
        expect(found.differences).toEqual(
          expect.arrayContaining([
            { id: "a.1", kind: "changed" },
            { id: "b", kind: "missing" },
            { id: "a.new", kind: "missing" }
          ])
        )
        const text = await run("verify", "--against", url, "--under", "a", "--differences", "1")
        expect(text.out).toMatch(/^(changed {2}a\.1|missing {2}a\.new)\nin sync /)
        expect(text.out).toMatch(/\ndifferences +2\n$/)
        expect(text.err).toContain(`sync-engine: ${url} holds 2 items otherwise than http://`)
      })
      const nobody = await run("verify", "--against", "http://127.0.0.1:1")
      expect(nobody.code).toBe(1)
      expect(nobody.err).toContain("no daemon answers at http://127.0.0.1:1")
    })
  })
})

describe("repair", () => {
  it("mends rows and tree, and says what is lost", async () => {
    const world = makeWorld()
    await against(world, async (run) => {
      await fill(run)
      world.state.remove("b")
      const row = world.state.records.get("a.2")!
      damage(world)
      const repaired = await run("repair", "--json")
      expect(repaired.code).toBe(0)
      expect(JSON.parse(repaired.out)).toMatchObject({
        in_sync: true,
        tree_rebuilt: true,
        contents_restored: 1,
        contents_lost: 0
      })
      expect((await run("verify", "--rows", "--contents")).code).toBe(0)
      expect((await run("get", "a.1")).out).toBe('"a.1"')
      expect((await run("repair")).out).toMatch(/^in sync +yes\n/)
      const contentHash = contentHashOf(Buffer.from("bytes that nobody has"))
      world.state.records.set("a.2", { ...row, content: Buffer.from("zzz"), contentHash })
      const lost = await run("repair")
      expect(lost.code).toBe(1)
      expect(lost.out).toMatch(/contents lost +1 a\.2\n/)
      expect(lost.err).toContain("1 item damaged, and nobody")
      expect((await run("repair", "--skip-contents", "--values", "none")).code).toBe(0)
    })
  })

  it("works on a stopped engine too", async () => {
    const world = makeWorld()
    await against(world, fill)
    world.state.remove("b")
    const offline = ["--offline", "--data-dir", "."]
    const run = (...args: ReadonlyArray<string>) => Effect.runPromise(cli(world, args))
    expect((await run("verify", ...offline)).code).toBe(1)
    expect((await run("repair", ...offline)).code).toBe(0)
    expect((await run("verify", ...offline)).code).toBe(0)
  })
})
