/**
 * A process that opens an engine, writes down everything it finds, and then writes, updates, deletes and reads at
 * random until it is killed. Runs compiled, over the compiled package.
 */

import { openSync, writeSync } from "node:fs"
import { Context, Effect, Either, Layer, Logger, LogLevel, Option, Stream } from "effect"
import type { OpenArchive } from "../../../src/archive/Archive.js"
import { Archive } from "../../../src/archive/Archive.js"
import { fromPartial } from "../../../src/EngineConfig.js"
import * as DefaultComponents from "../../../src/engine/DefaultComponents.js"
import type { Durability, SubmitItem, SubmitResult, SyncEngineApi } from "../../../src/SyncEngine.js"
import { SyncEngine } from "../../../src/SyncEngine.js"
import { jsonOf, type SyncItem } from "../../../src/SyncItem.js"
import type { OpenLog } from "../../../src/wal/WriteAheadLog.js"
import { WriteAheadLog } from "../../../src/wal/WriteAheadLog.js"
import { Chance } from "./Chance.js"
import type { Entry, Seen } from "./Journal.js"
import { ids, type KillPoint, type Life, type Moment } from "./Life.js"

const tell = (moment: Moment): void => {
  process.send!(moment)
}

const opOf = (item: SyncItem): number => (jsonOf(item) as { readonly op: number }).op

const live = (life: Life): Effect.Effect<void, unknown> => {
  const file = openSync(life.journal, "a")
  const write = (entry: Entry): void => {
    writeSync(file, `${JSON.stringify(entry)}\n`)
  }
  let serves = false
  let reached = 0
  const pass = (point: KillPoint): void => {
    if (!serves || life.killSelf?.point !== point) return
    reached++
    if (reached >= life.killSelf.count) process.kill(process.pid, "SIGKILL")
  }

  /** The archive with its moments told. */
  const observedArchive = (archive: OpenArchive): OpenArchive => ({
    ...archive,
    commit: (...call) =>
      Effect.suspend(() => {
        tell(serves ? "flushing" : "draining")
        pass("archiving")
        return Effect.tap(archive.commit(...call), () => Effect.sync(() => pass("archived")))
      })
  })

  /** The log with its moments told. */
  const observedLog = (log: OpenLog): OpenLog => {
    write({ kind: "opened", pending: log.usage().items })
    return {
      ...log,
      unsafeAppend: (records, done) =>
        log.unsafeAppend(records, (result) => {
          if (Either.isRight(result)) pass("logged")
          done(result)
        }),
      release: (upTo) => Effect.tap(log.release(upTo), () => Effect.sync(() => pass("released")))
    }
  }

  const everything = (engine: SyncEngineApi) =>
    Effect.gen(function* () {
      // First as they come, from wherever they are; the scan carries what is pending to the archive.
      const read = yield* engine.getMany(ids)
      const items = new Map<string, SyncItem>()
      yield* Stream.runForEach(engine.scanPrefix(""), (item) => Effect.sync(() => items.set(item.id, item)))
      for (const id of new Set([...read.keys(), ...items.keys()])) {
        const problem = `${id}: read as ${read.get(id)?.version}, listed as ${items.get(id)?.version}`
        if (read.get(id)?.version !== items.get(id)?.version) write({ kind: "wrong", problem })
      }
      const seen: Array<Seen> = [...items.values()].map((item) => [item.id, item.version, opOf(item)])
      const gone = ids.filter((id) => !items.has(id))
      const statuses = yield* Effect.forEach(gone, engine.status, { concurrency: 32 })
      for (const { id, state, version } of statuses) {
        if (state === "deleted") seen.push([id, version!, 0])
        else if (state !== "absent") write({ kind: "wrong", problem: `${id} is ${state}, but not listed` })
      }
      const { inSync } = yield* engine.verify()
      write({ kind: "seen", items: seen, inSync })
    })

  let nextOp = life.firstOp
  let stopping = life.stopAfterMs === 0

  const itemOf = (chance: Chance, op: number): SubmitItem => {
    const dice = chance.next()
    const length = dice < 0.9 ? chance.below(300) : dice < 0.98 ? chance.below(9_000) : chance.below(90_000)
    const state = chance.next() < 0.5 ? {} : { state: chance.pick(["new", "old"]) }
    return { id: chance.pick(ids), content: JSON.stringify({ op, filling: "x".repeat(length) }), ...state }
  }

  const settle = (firstOp: number, results: ReadonlyArray<SubmitResult>): void => {
    const byLevel = new Map<Durability, Array<readonly [number, number]>>()
    const refused = new Map<string, Array<number>>()
    const add = <K, V>(map: Map<K, Array<V>>, key: K, value: V) =>
      map.get(key)?.push(value) ?? map.set(key, [value])
    results.forEach((result, index) => {
      const op = firstOp + index
      if (result._tag === "Rejected") add(refused, result.error._tag, op)
      else add(byLevel, result.receipt.durability, [op, result.receipt.version] as const)
    })
    for (const [durability, writes] of byLevel) write({ kind: "acknowledged", durability, writes })
    for (const [error, ops] of refused) write({ kind: "rejected", error, ops })
    if (byLevel.has("wal") || byLevel.has("archive")) pass("acknowledged")
  }

  const turn = (engine: SyncEngineApi, chance: Chance): Effect.Effect<void, unknown> =>
    Effect.suspend(() => {
      const dice = chance.next()
      const level = chance.next()
      const durability: Durability =
        level < 0.15 ? "memory" : level < 0.3 && life.archiveLevel ? "archive" : "wal"
      const single = dice < 0.6
      const count = single ? 1 : chance.between(2, 40)
      const deletes = chance.next() < 0.25
      const firstOp = nextOp
      nextOp += count
      const items = Array.from({ length: count }, (_, index) => itemOf(chance, firstOp + index))
      const targets = items.map(({ id }) => id)
      write({ kind: "intent", writes: targets.map((id, index) => [firstOp + index, id, deletes]) })
      const receipts = single
        ? Effect.map(
            deletes ? engine.delete(targets[0]!, { durability }) : engine.submit(items[0]!, { durability }),
            (receipt): ReadonlyArray<SubmitResult> => [{ _tag: "Acknowledged", receipt }]
          )
        : deletes
          ? engine.deleteMany(targets, { durability })
          : engine.submitMany(items, { durability })
      return Effect.either(receipts).pipe(
        Effect.flatMap((answer) => {
          if (Either.isLeft(answer)) {
            const ops = targets.map((_, index) => firstOp + index)
            write({ kind: "rejected", error: answer.left._tag, ops })
            return Effect.sleep(5)
          }
          settle(firstOp, answer.right)
          const mine = answer.right[0]!
          if (mine._tag === "Rejected") return Effect.sleep(5)
          return chance.next() < 0.2 ? readsOwn(engine, targets[0]!, mine.receipt.version) : Effect.sleep(1)
        })
      )
    })

  const turns = (engine: SyncEngineApi, chance: Chance): Effect.Effect<void, unknown> =>
    Effect.suspend(() =>
      stopping ? Effect.void : Effect.zipRight(turn(engine, chance), turns(engine, chance))
    )

  /** A reader after an acknowledgement sees that write or a newer one. */
  const readsOwn = (engine: SyncEngineApi, id: string, version: number) =>
    Effect.gen(function* () {
      const item = yield* engine.get(id)
      const found = Option.isSome(item) ? item.value.version : (yield* engine.status(id)).version
      if (found === undefined || found < version) {
        write({ kind: "wrong", problem: `${id}: ${version} was acknowledged, ${found} is read` })
      }
    })

  return Effect.scoped(
    Effect.gen(function* () {
      tell("opening")
      const options = { dataDir: life.dataDir, ...life.settings }
      const parts = Layer.map(DefaultComponents.layer(yield* fromPartial(options)), (built) => {
        const { open: openLog } = Context.get(built, WriteAheadLog)
        const { open: openArchive } = Context.get(built, Archive)
        return built.pipe(
          Context.add(WriteAheadLog, { open: Effect.map(openLog, observedLog) }),
          Context.add(Archive, { open: Effect.map(openArchive!, observedArchive) })
        )
      })
      const context = yield* Layer.build(SyncEngine.layer(options, parts))
      const engine = Context.get(context, SyncEngine)
      yield* everything(engine)
      serves = true
      tell("ready")
      const chance = new Chance(life.seed)
      const load = Effect.forEach(
        Array.from({ length: 8 }, () => chance.fork()),
        (own) => turns(engine, own),
        { concurrency: "unbounded", discard: true }
      )
      if (life.stopAfterMs === undefined) return yield* load
      // Nothing is cut off: at the end every call has been answered.
      const stop = Effect.sync(() => {
        stopping = true
      })
      yield* Effect.zip(Effect.delay(stop, life.stopAfterMs), load, { concurrent: true })
      const report = yield* engine.shutdown
      write({
        kind: "stopped",
        clean: report.problems.length === 0,
        itemsLeftInLog: report.itemsLeftInLog ?? Number.NaN
      })
    })
  )
}

process.once("disconnect", () => process.exit(1))
process.once("message", (life) => {
  Effect.runPromise(live(life as Life).pipe(Logger.withMinimumLogLevel(LogLevel.Warning))).then(
    () => process.exit(0),
    (error: unknown) => {
      process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`)
      process.exit(1)
    }
  )
})
tell("loaded")
