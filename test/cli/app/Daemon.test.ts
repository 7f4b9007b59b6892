import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { ArchiveError } from "../../../src/archive/ArchiveError.js"
import { cli, finish, makeWorld, start, until, withDaemon } from "../support.js"

const run = ["run", "--http-port", "0"]

const ready = (running: { readonly err: () => string }) =>
  until(() => running.err().includes('"message":"ready"'))

/** The log lines that carry a report. */
const reports = (err: string) =>
  err
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map(
      (line) =>
        JSON.parse(line) as { readonly message: string; readonly annotations: Record<string, unknown> }
    )
    .filter(({ annotations }) => "items_left_in_log" in annotations)

describe("run", () => {
  it.each(["SIGTERM", "SIGINT", "SIGQUIT"] as const)(
    "%s: flushes, logs one report with all its fields, ends with 0",
    (name) =>
      Effect.runPromise(
        Effect.gen(function* () {
          const world = makeWorld()
          const running = yield* start(world, [...run, "--batch-flush-interval", "1h"])
          yield* ready(running)
          const url = /listening on (http:\S+?)"/.exec(running.err())?.[1] ?? ""
          yield* cli(world, ["put", "a", "--content", "1", "--url", url])
          expect(world.state.records.size).toBe(0)
          running.signal(name)
          const result = yield* finish(running)
          expect(result.code).toBe(0)
          expect(result.out).toBe("")
          expect(world.state.records.size).toBe(1)
          expect(reports(result.err)).toHaveLength(1)
          expect(Object.keys(reports(result.err)[0]?.annotations ?? {}).sort()).toEqual([
            "clean",
            "completed_at_ms",
            "duration_ms",
            "filter_snapshot",
            "final_checkpoint",
            "flushed_wal",
            "items_flushed",
            "items_left_in_log",
            "problems",
            "started_at_ms"
          ])
          expect(reports(result.err)[0]?.annotations).toMatchObject({
            clean: true,
            items_flushed: 1,
            items_left_in_log: 0
          })
        })
      )
  )

  it("SIGHUP is ignored with a notice", () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const world = makeWorld()
        const running = yield* start(world, run)
        yield* ready(running)
        running.signal("SIGHUP")
        yield* until(() => running.err().includes("SIGHUP is ignored"))
        const url = /listening on (http:\S+?)"/.exec(running.err())?.[1] ?? ""
        expect((yield* cli(world, ["put", "a", "--content", "1", "--url", url])).code).toBe(0)
        running.signal("SIGTERM")
        expect((yield* finish(running)).code).toBe(0)
      })
    ))

  it("a second signal does not skip the flush", () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const world = makeWorld()
        const running = yield* start(world, [...run, "--batch-flush-interval", "1h"])
        yield* ready(running)
        const url = /listening on (http:\S+?)"/.exec(running.err())?.[1] ?? ""
        yield* cli(world, ["put", "a", "--content", "1", "--url", url])
        world.hooks.before = ({ operation }) => (operation === "commit" ? Effect.sleep(300) : Effect.void)
        running.signal("SIGTERM")
        yield* Effect.sleep(50)
        running.signal("SIGTERM")
        running.signal("SIGINT")
        const result = yield* finish(running)
        expect(result.code).toBe(0)
        expect(result.err).toContain("is not cut short")
        expect(reports(result.err)).toHaveLength(1)
        expect(world.state.records.size).toBe(1)
      })
    ))

  it("a report that is not clean ends with 1 and says what is left", () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const world = makeWorld()
        const running = yield* start(world, [...run, "--shutdown-timeout", "300ms"])
        yield* ready(running)
        world.hooks.before = ({ operation }) =>
          Effect.fail(new ArchiveError({ operation, kind: "transient", problem: "gone away" }))
        const url = /listening on (http:\S+?)"/.exec(running.err())?.[1] ?? ""
        yield* cli(world, ["put", "a", "--content", "1", "--url", url])
        running.signal("SIGTERM")
        const result = yield* finish(running)
        expect(result.code).toBe(1)
        expect(reports(result.err)[0]?.annotations).toMatchObject({ clean: false, items_left_in_log: 1 })
        expect(result.err).toContain("sync-engine: the shutdown was not clean: ")
        expect(result.err).toContain("1 acknowledged write is safe in the log")
      })
    ))

  it("a signal during the start ends with a report, and health is answered meanwhile", () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const world = makeWorld()
        yield* cli(world, ["ingest", "-"], { stdin: '{"id":"a","content":1}' })
        world.hooks.before = () => Effect.never
        const running = yield* start(world, [...run, "--shutdown-timeout", "1s"])
        yield* until(() => running.err().includes("listening on"))
        const url = /listening on (http:\S+?)"/.exec(running.err())?.[1] ?? ""
        const live = yield* Effect.promise(() => fetch(`${url}/health/live`))
        const startup = yield* Effect.promise(() => fetch(`${url}/health/startup`))
        expect([live.status, startup.status]).toEqual([200, 503])
        running.signal("SIGTERM")
        const result = yield* finish(running)
        expect(reports(result.err)).toHaveLength(1)
        expect(result.code).toBe(reports(result.err)[0]?.annotations.clean === true ? 0 : 1)
      })
    ))

  it("a failing start is one clear error and code 1", () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const world = makeWorld()
        world.disk.faults.opens = 1
        const result = yield* cli(world, run)
        expect(result.code).toBe(1)
        expect(result.err).toMatch(/sync-engine: log memory: .*Durability cannot be guaranteed/)
        expect(result.err).not.toMatch(/\n\s+at /)
      })
    ))

  it("a port in use is a configuration error", () =>
    Effect.runPromise(
      withDaemon(makeWorld(), ({ env }) =>
        Effect.gen(function* () {
          const port = new URL(env.SYNC_ENGINE_URL ?? "").port
          const result = yield* cli(makeWorld(), ["run", "--http-port", port])
          expect(result.code).toBe(2)
          expect(result.err).toContain("HTTP_PORT")
          expect(result.err).toContain("in use")
        })
      )
    ))

  it("a shutdown over HTTP answers its callers before it ends", () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const world = makeWorld()
        const running = yield* start(world, run)
        yield* ready(running)
        const url = /listening on (http:\S+?)"/.exec(running.err())?.[1] ?? ""
        const both = yield* Effect.all(
          [
            cli(world, ["shutdown", "--json", "--url", url]),
            cli(world, ["shutdown", "--json", "--url", url])
          ],
          { concurrency: 2 }
        )
        const result = yield* finish(running)
        expect(result.code).toBe(0)
        expect(both.map(({ code }) => code)).toEqual([0, 0])
        expect(both[0]?.out).toBe(both[1]?.out)
        expect(reports(result.err)).toHaveLength(1)
      })
    ))

  it("takes level and format of its logs from the configuration file, behind flags and variables", async () => {
    const { writeFileSync, mkdtempSync, rmSync } = await import("node:fs")
    const { tmpdir } = await import("node:os")
    const { join } = await import("node:path")
    const directory = mkdtempSync(join(tmpdir(), "sync-engine-log-"))
    const file = join(directory, "config.json")
    writeFileSync(file, '{"LOG_FORMAT":"pretty","LOG_LEVEL":"warning"}')
    const logs = async (...flags: ReadonlyArray<string>) => {
      const world = makeWorld()
      let started = false
      world.hooks.before = () =>
        Effect.sync(() => {
          started = true
        })
      const running = await Effect.runPromise(start(world, [...run, "--config", file, ...flags]))
      // The server listens before the engine starts.
      await Effect.runPromise(until(() => started))
      running.signal("SIGTERM")
      return (await Effect.runPromise(finish(running))).err
    }
    expect(await logs()).toBe("")
    expect(await logs("--log-level", "info")).toMatch(/^\d\d:\d\d:\d\d\.\d{3} INFO {2}listening on http/)
    expect(await logs("--log-level=info", "--log-format=json")).toMatch(/^\{"message":"listening on http/)
    rmSync(directory, { recursive: true, force: true })
  })
})

describe("other commands", () => {
  it("are interrupted by a signal and end with 1", () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const world = makeWorld()
        let asked = false
        world.hooks.before = () =>
          Effect.zipRight(
            Effect.sync(() => {
              asked = true
            }),
            Effect.never
          )
        const running = yield* start(
          world,
          ["verify", "--offline", "--data-dir", ".", "--shutdown-timeout", "1s"].slice(0, 4)
        )
        yield* until(() => asked)
        running.signal("SIGINT")
        const result = yield* finish(running)
        expect(result).toMatchObject({ code: 1 })
        expect(result.err).toContain("interrupted by SIGINT")
      })
    ))
})
