import { Clock, Effect, Fiber, TestClock } from "effect"
import { ArchiveError } from "../../src/archive/ArchiveError.js"
import type { MemoryArchiveCall, MemoryArchiveOptions } from "../../src/archive/memory/MemoryArchive.js"
import { MemoryArchiveState } from "../../src/archive/memory/MemoryArchive.js"
import type { ItemRecord } from "../../src/SyncItem.js"
import { contentHashOf } from "../../src/SyncItem.js"
import type { TestEngine, TestEngineOptions } from "../support/engine.js"
import { startEngine } from "../support/engine.js"

export interface SeenCall extends MemoryArchiveCall {
  /** Milliseconds on the test's clock. */
  readonly at: number
}

/** An archive whose failures the test decides, and which remembers every call. */
export class PlayedArchive {
  readonly calls: Array<SeenCall> = []
  /** Every call fails, as when the server is away. */
  down = false
  /** Records the archive refuses for a permanent reason. */
  refuses: (record: ItemRecord) => boolean = () => false
  /** Calls that fail transiently although the archive is up. */
  stumbles: (call: SeenCall) => boolean = () => false
  /** How many of the next commits take effect and then lose their answer. */
  lostAnswers = 0
  private readonly holds = new Map<string, Effect.Latch>()

  /** @param state that of another one: another node's way to the same archive */
  constructor(readonly state = new MemoryArchiveState()) {}

  get options(): MemoryArchiveOptions {
    return {
      state: this.state,
      hooks: {
        before: (call) =>
          Effect.flatMap(Clock.currentTimeMillis, (at) => {
            const seen = { ...call, at }
            this.calls.push(seen)
            return Effect.zipRight(
              Effect.suspend(() => this.holds.get(call.operation)?.await ?? Effect.void),
              this.verdict(seen)
            )
          }),
        after: ({ operation }) =>
          Effect.suspend(() => {
            if (operation !== "commit" || this.lostAnswers === 0) {
              return this.holds.get(`${operation} answered`)?.await ?? Effect.void
            }
            this.lostAnswers--
            return Effect.fail(failure(operation, "transient", "the connection was lost"))
          })
      }
    }
  }

  /** Lets calls of this sort hang until {@link letGo}; with " answered" behind it, what they found is on its way. */
  hold(operation: string): void {
    this.holds.set(operation, Effect.unsafeMakeLatch(false))
  }

  letGo(operation: string): void {
    this.holds.get(operation)?.unsafeOpen()
    this.holds.delete(operation)
  }

  /** Runs writes whose own versions the archive cannot be asked about. */
  uncompared<A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.suspend(() => {
      const { stumbles } = this
      this.stumbles = (call) => call.operation === "heads" || stumbles(call)
      return Effect.ensuring(
        effect,
        Effect.sync(() => {
          this.stumbles = stumbles
        })
      )
    })
  }

  seen(operation: string): ReadonlyArray<SeenCall> {
    return this.calls.filter((call) => call.operation === operation)
  }

  /** Ids of each commit, as asked. */
  get commits(): ReadonlyArray<ReadonlyArray<string>> {
    return this.seen("commit").map(({ records }) => records!.map(({ id }) => id))
  }

  live(): ReadonlyArray<string> {
    return this.state.sortedIds().filter((id) => !this.state.records.get(id)!.deleted)
  }

  /** Puts a record in as another node would. */
  put(id: string, version: number, content = `${id}@${version}`, deleted = false): ItemRecord {
    const record = recordOf(id, version, content, deleted)
    this.state.records.set(id, record)
    this.state.tree.apply([{ id, after: deleted ? undefined : record }])
    this.state.topVersion = Math.max(this.state.topVersion, version)
    return record
  }

  private verdict(call: SeenCall): Effect.Effect<void, ArchiveError> {
    return Effect.suspend(() => {
      if (this.down) return Effect.fail(failure(call.operation, "transient", "the server is away"))
      if (this.stumbles(call)) return Effect.fail(failure(call.operation, "transient", "a deadlock"))
      const culprit = call.records?.find(this.refuses)
      return culprit === undefined
        ? Effect.void
        : Effect.fail(failure(call.operation, "permanent", `no room for ${culprit.id}`))
    })
  }
}

const failure = (operation: string, kind: "transient" | "permanent", problem: string) =>
  new ArchiveError({ operation, kind, problem })

const encoder = new TextEncoder()

export const recordOf = (id: string, version: number, content: string, deleted = false): ItemRecord => {
  const bytes = encoder.encode(deleted ? "" : content)
  return {
    id,
    version,
    updatedAt: 1,
    contentType: "binary",
    contentHash: contentHashOf(bytes),
    state: undefined,
    content: bytes,
    traceparent: undefined,
    deleted
  }
}

/** Starts an effect beside the test and lets everything run that needs no time. */
export const beside = <A, E>(effect: Effect.Effect<A, E>) => Effect.tap(Effect.fork(effect), () => settle)

/** Lets everything run that needs no time. */
export const settle = TestClock.adjust(0)

/** Whether the fiber has ended. */
export const ended = <A, E>(fiber: Fiber.Fiber<A, E>) =>
  Effect.map(Fiber.poll(fiber), (exit) => exit._tag === "Some")

/** Items `prefix0 .. prefix(count - 1)`. */
export const items = (count: number, prefix = "item.", content = "x") =>
  Array.from({ length: count }, (_, index) => ({ id: `${prefix}${index}`, content }))

/**
 * A started engine. When its scope closes, the test's clock goes on by itself until the shutdown is through: a slow
 * log or a hanging archive would wait for it for ever.
 */
export const start = (options: TestEngineOptions = {}) => Effect.tap(startEngine(options), driven)

export const driven = (engine: TestEngine) =>
  Effect.addFinalizer(() =>
    Effect.forkDaemon(
      Effect.repeat(TestClock.adjust(1000), {
        until: () => engine.lifecycle.unsafeSnapshot().phase === "stopped"
      })
    )
  )
