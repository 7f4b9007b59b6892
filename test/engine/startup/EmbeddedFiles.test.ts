import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import Database from "better-sqlite3"
import { Effect, Either, Redacted, Schedule } from "effect"
import type { EngineConfig } from "../../../src/config/Model.js"
import { LiveConfig } from "../../../src/EngineConfig.js"
import * as DefaultComponents from "../../../src/engine/DefaultComponents.js"
import * as EngineModule from "../../../src/engine/Engine.js"
import * as Lifecycle from "../../../src/Lifecycle.js"
import { testConfig } from "../../support/engine.js"
import { logged } from "../../support/Logged.js"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "sync-engine-files-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** A started engine over its default files. */
const engineOver = (dataDir: string, changed: Partial<EngineConfig> = {}) =>
  Effect.gen(function* () {
    const config = {
      ...testConfig,
      dataDir,
      sqlUrl: Redacted.make("sqlite:"),
      sqlStartTimeout: 0,
      healthInterval: 200,
      ...changed
    }
    const live = yield* Effect.provide(LiveConfig, LiveConfig.layer(config))
    const engine = yield* EngineModule.make.pipe(
      Effect.provide(DefaultComponents.layer(config)),
      Effect.provideService(LiveConfig, live),
      Effect.provideService(Lifecycle.Lifecycle, yield* Lifecycle.make)
    )
    yield* engine.start
    return engine.service
  })

const soon = Effect.retry({ schedule: Schedule.spaced("20 millis"), times: 500 })

describe("an engine over its own files", () => {
  it.scopedLive(
    "refuses an archive that is missing beside an intact log, says what to do, and goes on when told",
    () =>
      Effect.gen(function* () {
        const dataDir = yield* folder
        const archive = join(dataDir, "archive.db")
        yield* Effect.scoped(
          Effect.flatMap(engineOver(dataDir), (service) =>
            Effect.zipRight(service.submit({ id: "a", content: "1" }), service.flush)
          )
        )
        const aside = join(dataDir, "aside")
        renameSync(archive, aside)
        for (let attempt = 0; attempt < 2; attempt++) {
          const refused = yield* Effect.either(Effect.scoped(engineOver(dataDir)))
          expect(Either.isLeft(refused) && refused.left.message).toContain("a new and empty archive")
          expect(Either.isLeft(refused) && refused.left.message).toContain("SQL_ACCEPT_OTHER=true")
        }
        for (const suffix of ["", "-wal", "-shm"]) rmSync(archive + suffix, { force: true })
        renameSync(aside, archive)
        const read = (changed: Partial<EngineConfig>) =>
          Effect.scoped(Effect.flatMap(engineOver(dataDir, changed), (service) => service.get("a")))
        expect((yield* read({}))._tag).toBe("Some")
        rmSync(archive)
        expect((yield* read({ sqlAcceptOther: true }))._tag).toBe("None")
        expect((yield* read({}))._tag).toBe("None")
      })
  )

  it.scopedLive(
    "refuses a log that is missing beside its archive, says what to do, and goes on when told",
    () =>
      Effect.gen(function* () {
        const dataDir = yield* folder
        const elsewhere = yield* folder
        const log = join(dataDir, "wal.db")
        const read = (changed: Partial<EngineConfig>) =>
          Effect.scoped(Effect.flatMap(engineOver(dataDir, changed), (service) => service.get("a")))
        // An archive that nothing was written to yet is no sign of a log.
        yield* read({})
        rmSync(log)
        yield* Effect.scoped(
          Effect.flatMap(engineOver(dataDir), (service) =>
            Effect.zipRight(service.submit({ id: "a", content: "1" }), service.flush)
          )
        )
        const aside = join(elsewhere, "wal.db")
        renameSync(log, aside)
        for (let attempt = 0; attempt < 2; attempt++) {
          const refused = yield* Effect.either(read({}))
          expect(Either.isLeft(refused) && refused.left.message).toContain(
            "the log beside it is new and empty"
          )
          expect(Either.isLeft(refused) && refused.left.message).toContain("SQL_ACCEPT_OTHER=true")
        }
        rmSync(log)
        renameSync(aside, log)
        expect((yield* read({}))._tag).toBe("Some")
        rmSync(log)
        expect((yield* read({ sqlAcceptOther: true }))._tag).toBe("Some")
        expect((yield* read({}))._tag).toBe("Some")
        // A node of its own, whose log is elsewhere, is new to an archive that others write.
        const other = { dataDir: elsewhere, sqlUrl: Redacted.make(`sqlite:${join(dataDir, "archive.db")}`) }
        expect((yield* read(other))._tag).toBe("Some")
      })
  )

  it.scopedLive(
    "notices within a health interval that its folder is gone, refuses writes, and goes on when it is back",
    () =>
      Effect.gen(function* () {
        const base = yield* folder
        const dataDir = join(base, "data")
        const service = yield* engineOver(dataDir)
        yield* service.submit({ id: "a", content: "1" })
        yield* service.flush
        renameSync(dataDir, join(base, "moved"))
        const degraded = Effect.map(service.health, (health) =>
          health.degraded.map(({ component }) => component).sort()
        )
        const seen = (components: ReadonlyArray<string>) =>
          soon(Effect.filterOrFail(degraded, (found) => found.join() === components.join()))
        yield* seen(["archive", "log"])
        expect((yield* service.health).acceptsWrites).toBe(false)
        const error = yield* Effect.flip(service.submit({ id: "b", content: "1" }))
        expect(error.message).toContain("was removed")
        renameSync(join(base, "moved"), dataDir)
        yield* seen([])
        yield* service.submit({ id: "b", content: "1" })
        yield* service.flush
      })
  )

  for (const elsewhere of ["an empty folder", "a copy of it"]) {
    it.scopedLive(
      `notices that the link to its folder leads to ${elsewhere}, and goes on when it is back`,
      () =>
        Effect.gen(function* () {
          const base = yield* folder
          const dataDir = join(base, "data")
          const point = (to: string) => {
            rmSync(dataDir, { force: true })
            symlinkSync(join(base, to), dataDir)
          }
          mkdirSync(join(base, "first"))
          mkdirSync(join(base, "second"))
          point("first")
          const service = yield* engineOver(dataDir)
          yield* service.submit({ id: "a", content: "1" })
          yield* service.flush
          if (elsewhere === "a copy of it")
            cpSync(join(base, "first"), join(base, "second"), { recursive: true })
          point("second")
          const seen = (components: ReadonlyArray<string>) =>
            soon(
              Effect.filterOrFail(
                service.health,
                ({ degraded }) =>
                  degraded
                    .map(({ component }) => component)
                    .sort()
                    .join() === components.join()
              )
            )
          expect((yield* seen(["archive", "log"])).acceptsWrites).toBe(false)
          point("first")
          yield* seen([])
          yield* service.submit({ id: "b", content: "1" })
          yield* service.flush
        })
    )
  }

  const unusable: ReadonlyArray<readonly [string, string, (path: string) => void]> = [
    [
      "no database",
      "restore it from a backup",
      (path) => writeFileSync(path, "no database at all\n".repeat(500))
    ],
    ["a folder", "has to name a file", (path) => mkdirSync(path)],
    ["under a file", "has to name a file", (path) => writeFileSync(dirname(path), "")],
    [
      "another program's database",
      "not an archive of this version",
      (path) => {
        const database = new Database(path)
        database.exec("CREATE TABLE items(name TEXT)")
        database.close()
      }
    ]
  ]
  for (const [name, advice, make] of unusable) {
    it.scopedLive(`does not wait for an archive that is ${name}`, () =>
      Effect.gen(function* () {
        const base = yield* folder
        const path = join(base, "sub", "archive.db")
        if (name !== "under a file") mkdirSync(dirname(path))
        make(path)
        const { lines, provide } = logged()
        const refused = yield* Effect.either(
          provide(
            Effect.scoped(
              engineOver(join(base, "data"), {
                sqlUrl: Redacted.make(`sqlite:${path}`),
                sqlStartTimeout: 3_600_000
              })
            )
          )
        )
        expect(Either.isLeft(refused) && refused.left.message).toContain(advice)
        expect(lines.filter(({ message }) => message.includes("not there yet"))).toEqual([])
      })
    )
  }

  const damages: ReadonlyArray<readonly [string, string, (path: string) => void]> = [
    ["an archive that was emptied in its place", "archive", (path) => truncateSync(path, 0)],
    ["a log that was emptied in its place", "log", (path) => truncateSync(path, 0)]
  ]
  for (const [name, component, damage] of damages) {
    it.scopedLive(`notices ${name}`, () =>
      Effect.gen(function* () {
        const dataDir = yield* folder
        const service = yield* engineOver(dataDir)
        for (let n = 0; n < 50; n++) yield* service.submit({ id: `a${n}`, content: "x".repeat(5000) })
        yield* service.flush
        damage(join(dataDir, component === "log" ? "wal.db" : "archive.db"))
        yield* soon(
          Effect.filterOrFail(service.health, ({ degraded }) =>
            degraded.some((one) => one.component === component)
          )
        )
      })
    )
  }

  const overwritten: ReadonlyArray<
    readonly [string, "archive" | "log", (path: string, old: string) => void]
  > = [
    ["a log by an older copy of it", "log", (path, old) => copyFileSync(old, path)],
    [
      "an archive by something else",
      "archive",
      (path) => writeFileSync(path, Buffer.alloc(statSync(path).size, 0x41), { flag: "r+" })
    ]
  ]
  for (const [name, component, overwrite] of overwritten) {
    it.scopedLive(`goes on refusing ${name}, until it is started again`, () =>
      Effect.gen(function* () {
        const dataDir = yield* folder
        const file = join(dataDir, component === "log" ? "wal.db" : "archive.db")
        const { lines, provide } = logged()
        yield* provide(
          Effect.gen(function* () {
            const service = yield* engineOver(dataDir, { shutdownTimeout: 1000 })
            const write = (id: string) => service.submit({ id, content: "x".repeat(5000) })
            yield* write("a")
            yield* service.flush
            const old = join(dataDir, "old")
            copyFileSync(file, old)
            yield* write("b")
            yield* service.flush
            overwrite(file, old)
            const reasons = Effect.map(service.health, ({ degraded }) =>
              degraded.filter((one) => one.component === component).map(({ reason }) => reason)
            )
            yield* soon(Effect.filterOrFail(reasons, ([reason]) => reason?.includes("is damaged") === true))
            // Also when what was there before is put back: what happened in between is not known.
            for (let round = 0; round < 20; round++) {
              expect(Either.isLeft(yield* Effect.either(write(`c${round}`)))).toBe(component === "log")
              expect(Either.isLeft(yield* Effect.either(service.flush))).toBe(component === "archive")
              expect(yield* reasons).toEqual([expect.stringContaining("restore it from a backup")])
              if (round === 10) copyFileSync(old, file)
              yield* Effect.sleep("30 millis")
            }
            expect((yield* service.health).acceptsWrites).toBe(component === "archive")
          })
        )
        expect(lines.filter(({ level }) => level === "WARN" || level === "ERROR")).toEqual([
          expect.objectContaining({ level: "WARN", message: expect.stringContaining("is damaged") })
        ])
      })
    )
  }

  it.scopedLive("keeps its folder and files to itself, those that were there before too", () =>
    Effect.gen(function* () {
      const dataDir = join(yield* folder, "data")
      const rights = () =>
        [dataDir, ...readdirSync(dataDir).map((name) => join(dataDir, name))].map(
          (path) => statSync(path).mode & 0o077
        )
      yield* Effect.scoped(
        Effect.map(engineOver(dataDir), () => {
          expect(rights().length).toBeGreaterThan(4)
          expect(new Set(rights())).toEqual(new Set([0]))
        })
      )
      chmodSync(dataDir, 0o755)
      for (const name of readdirSync(dataDir)) chmodSync(join(dataDir, name), 0o644)
      expect(existsSync(join(dataDir, "wal.db"))).toBe(true)
      yield* Effect.scoped(
        Effect.map(engineOver(dataDir), () => expect(new Set(rights())).toEqual(new Set([0])))
      )
    })
  )
})
