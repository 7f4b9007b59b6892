/**
 * A write-ahead log without a file or a thread: for tests, simulations and applications' fakes. It keeps every
 * promise of the service against a crash of the *log*, because what is durable lives in a `MemoryLogDisk` that
 * successive logs share; it survives no crash of the process.
 *
 * It takes no time of its own, and of `Random` only a new disk's identity: the same calls give the same results,
 * under `TestClock` too.
 *
 * @since 0.1.0
 */
import { type Context, Effect, Either, type Layer, Random, type Scope } from "effect"
import { LogOpenError } from "../EngineError.js"
import type { FilterSnapshots } from "./FilterSnapshots.js"
import { type CommitTarget, GroupCommit, type LogBounds } from "./GroupCommit.js"
import type { LogOperations } from "./LogProtocol.js"
import { layerOf, servicesOf } from "./LogService.js"
import { type MemoryLogDisk, makeDisk, openedOf, operationsOn } from "./MemoryLogDisk.js"
import type { OpenLog, WriteAheadLog } from "./WriteAheadLog.js"

export { crash, type MemoryLogDisk, makeDisk } from "./MemoryLogDisk.js"

/**
 * How a memory log behaves.
 *
 * @since 0.1.0
 * @category options
 */
export interface MemoryLogOptions extends LogBounds {
  /** Where it lives; for messages. `memory` by default. */
  readonly path?: string
  /** What earlier logs left; a new disk by default. */
  readonly disk?: MemoryLogDisk
  /** Run before each group commit and each other change becomes durable; nothing by default. */
  readonly commitDelay?: Effect.Effect<void>
}

/**
 * A log and the snapshots on the same disk.
 *
 * @since 0.1.0
 * @category models
 */
export interface MemoryLog {
  readonly log: OpenLog
  readonly snapshots: Context.Tag.Service<FilterSnapshots>
  readonly disk: MemoryLogDisk
}

/** The sort of operation, for the disk's faults. */
const sorts: { readonly [K in keyof LogOperations]?: keyof MemoryLogDisk["faults"] } = {
  commit: "commits",
  probe: "commits",
  read: "reads",
  readAt: "reads",
  listDeadLetters: "reads",
  readSnapshotPart: "reads",
  release: "writes",
  addDeadLetters: "writes",
  removeDeadLetters: "writes",
  publishSnapshot: "writes"
}

const isClosed = "the log is closed"

/** A random UUID (RFC 9562, version 4). */
const randomUuid = Effect.map(Effect.replicateEffect(Random.nextIntBetween(0, 2 ** 32), 4), (words) => {
  const bytes = new DataView(new ArrayBuffer(16))
  for (const [index, word] of words.entries()) bytes.setUint32(index * 4, word)
  bytes.setUint8(6, (bytes.getUint8(6) & 0x0f) | 0x40)
  bytes.setUint8(8, (bytes.getUint8(8) & 0x3f) | 0x80)
  const digits = Buffer.from(bytes.buffer).toString("hex")
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-")
})

/**
 * Opens a log on the disk. Fails with kind `in-use` while another log has it open, and with `cannot-open` when
 * the disk is told to. Closing the scope fails what is not committed yet.
 *
 * @since 0.1.0
 * @category constructors
 */
export const open = (options: MemoryLogOptions = {}): Effect.Effect<MemoryLog, LogOpenError, Scope.Scope> =>
  Effect.gen(function* () {
    const { commitDelay = Effect.void, disk = makeDisk(), path = "memory" } = options
    const refuse = (kind: LogOpenError["kind"], problem: string) => new LogOpenError({ path, kind, problem })
    if (disk.faults.opens > 0) {
      disk.faults.opens--
      return yield* refuse("cannot-open", "the disk was told to fail")
    }
    if (disk.owner !== undefined) return yield* refuse("in-use", "it is in use")
    const owner = {}
    disk.owner = owner
    disk.identity ??= yield* randomUuid
    const operations = operationsOn(disk)
    const perform = <A>(operation: keyof LogOperations, run: () => A): Effect.Effect<A, string> => {
      const sort = sorts[operation]
      const attempt = Effect.suspend(() => {
        if (disk.owner !== owner) return Effect.fail(isClosed)
        if (sort === undefined || disk.faults[sort] === 0) return Effect.succeed(run())
        disk.faults[sort]--
        return Effect.fail("the disk was told to fail")
      })
      return sort === "writes" || operation === "commit" ? Effect.zipRight(commitDelay, attempt) : attempt
    }
    const commits = makeCommits((segments) => perform("commit", () => operations.commit(segments)))
    const target: CommitTarget = {
      get problem() {
        return disk.owner === owner ? undefined : isClosed
      },
      request: commits.request
    }
    const group = new GroupCommit(target, path, openedOf(disk, disk.identity), options, commits.later)
    yield* Effect.forkScoped(Effect.interruptible(commits.run))
    // Runs before the committing fiber is interrupted.
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        if (disk.owner === owner) disk.owner = undefined
        group.close()
        commits.close()
      })
    )
    const services = servicesOf(group, disk.identity, (operation, parameters) =>
      perform(operation, () => (operations[operation] as (...all: typeof parameters) => never)(...parameters))
    )
    return { ...services, disk }
  })

type Segments = Parameters<LogOperations["commit"]>[0]

/** Group commits, one after the other, in a fiber. */
const makeCommits = (commit: (segments: Segments) => Effect.Effect<void, string>) => {
  const sent: Array<{ readonly segments: Segments; readonly done: Parameters<CommitTarget["request"]>[2] }> =
    []
  const wake = Effect.unsafeMakeLatch(false)
  let turn = () => {}
  const request: CommitTarget["request"] = (_, [segments], done) => void sent.push({ segments, done })
  const later = (next: () => void) => {
    turn = next
    wake.unsafeOpen()
  }
  const run = Effect.gen(function* () {
    yield* wake.await
    wake.unsafeClose()
    turn()
    for (let group = sent[0]; group !== undefined; group = sent[0]) {
      const outcome = yield* Effect.either(commit(group.segments))
      if (group === sent[0]) sent.shift()?.done(outcome)
    }
  }).pipe(Effect.forever)
  /** Fails what is not committed yet. */
  const close = () => {
    for (const { done } of sent.splice(0)) done(Either.left(isClosed))
  }
  return { request, later, run, close }
}

/**
 * The log and the filter's snapshots, in memory.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory = (options: MemoryLogOptions = {}): Layer.Layer<WriteAheadLog | FilterSnapshots> =>
  layerOf(options.path ?? "memory", open(options))
