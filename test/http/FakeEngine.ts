/** An engine in memory, with switches for everything a client can be told. */
import { Effect, Option, Stream } from "effect"
import {
  GateClosed,
  InvalidItem,
  PayloadTooLarge,
  type ReadError,
  VersionConflict,
  VersionMismatch,
  type WriteError
} from "../../src/EngineError.js"
import type { LifecycleService, ShutdownReport } from "../../src/Lifecycle.js"
import type {
  Receipt,
  SubmitItem,
  SubmitOptions,
  SubmitResult,
  SyncEngineApi,
  VerifyDifference
} from "../../src/SyncEngine.js"
import {
  contentHashOf,
  detectContentType,
  type ItemRecord,
  idProblem,
  isJson,
  stateProblem,
  tombstone
} from "../../src/SyncItem.js"
import type { DeadLetter } from "../../src/wal/WriteAheadLog.js"
import { treeSource } from "../reconcile/treeSource.js"

export const startedAtMs = 1_700_000_000_000

export class Fake {
  readonly rows = new Map<string, ItemRecord>()
  letters: Array<DeadLetter> = []
  writeFailure: WriteError | undefined
  readFailure: ReadError | undefined
  /** Writes wait for this before they are applied. */
  beforeWrite: Effect.Effect<void> = Effect.void
  /** Shutdowns wait for this before they report. */
  beforeReport: Effect.Effect<void> = Effect.void
  /** Callers of a shutdown get the report only after this. */
  afterReport: Effect.Effect<void> = Effect.void
  problems: ReadonlyArray<string> = []
  differences: ReadonlyArray<VerifyDifference> = []
  readOnly = false
  /** Why the log takes no writes. */
  logProblem: string | undefined
  defect: unknown
  /** The durability that receipts say was reached, whatever was asked for. */
  reached: Receipt["durability"] | undefined
  maxPayloadBytes = 1024 * 1024
  clock = 0
  readonly calls: Array<{ readonly name: string; readonly arguments: ReadonlyArray<unknown> }> = []

  constructor(readonly lifecycle: LifecycleService) {}

  private note(name: string, ...args: ReadonlyArray<unknown>): void {
    this.calls.push({ name, arguments: args })
    if (this.defect !== undefined) throw this.defect
  }

  private gate(operation: "write" | "query"): WriteError | ReadError | undefined {
    const { phase, reason } = this.lifecycle.unsafeSnapshot()
    const open = operation === "write" ? this.lifecycle.acceptsWrites() : this.lifecycle.acceptsQueries()
    if (!open) return new GateClosed({ operation, phase, reason, retryAfterMs: 1_500 })
    return operation === "write" ? this.writeFailure : this.readFailure
  }

  private read<A>(name: string, args: ReadonlyArray<unknown>, value: () => A): Effect.Effect<A, ReadError> {
    return Effect.suspend(() => {
      this.note(name, ...args)
      const closed = this.gate("query") as ReadError | undefined
      return closed === undefined ? Effect.sync(value) : Effect.fail(closed)
    })
  }

  private write<A>(
    name: string,
    args: ReadonlyArray<unknown>,
    value: () => Effect.Effect<A, WriteError>
  ): Effect.Effect<A, WriteError> {
    return Effect.suspend(() => {
      this.note(name, ...args)
      const closed = this.gate("write") as WriteError | undefined
      return closed === undefined
        ? Effect.zipRight(this.beforeWrite, Effect.suspend(value))
        : Effect.fail(closed)
    })
  }

  private tree() {
    return treeSource([...this.rows.values()].filter((row) => !row.deleted))
  }

  private put(item: SubmitItem, options: SubmitOptions = {}): Effect.Effect<Receipt, WriteError> {
    const { id } = item
    const invalid = (field: string, problem: string) => Effect.fail(new InvalidItem({ id, field, problem }))
    const content = typeof item.content === "string" ? Buffer.from(item.content) : item.content
    const problem = idProblem(id)
    if (problem !== undefined) return invalid("id", problem)
    const stateIs = item.state === undefined ? undefined : stateProblem(item.state)
    if (stateIs !== undefined) return invalid("state", stateIs)
    if (content.length > this.maxPayloadBytes) {
      const { maxPayloadBytes: maxBytes } = this
      return Effect.fail(
        new PayloadTooLarge({ id, bytes: content.length, maxBytes, limit: "MAX_PAYLOAD_BYTES" })
      )
    }
    if (item.contentType === "json" && !isJson(content)) return invalid("content", "is not valid JSON")
    return this.store(
      {
        id,
        version: item.version ?? 0,
        updatedAt: startedAtMs,
        contentType: item.contentType ?? detectContentType(content),
        contentHash: contentHashOf(content),
        state: item.state,
        content,
        traceparent: item.traceparent,
        deleted: false
      },
      options
    )
  }

  private store(
    record: ItemRecord,
    options: Pick<SubmitOptions, "expectedVersion" | "durability">
  ): Effect.Effect<Receipt, WriteError> {
    const current = this.rows.get(record.id)
    const live = current === undefined || current.deleted ? undefined : current
    const { expectedVersion } = options
    const { id } = record
    if (expectedVersion !== undefined && expectedVersion !== (live?.version ?? 0)) {
      return Effect.fail(new VersionMismatch({ id, expected: expectedVersion, actual: live?.version ?? 0 }))
    }
    if (record.version !== 0 && current !== undefined && record.version < current.version) {
      return Effect.fail(new VersionConflict({ id, submitted: record.version, current: current.version }))
    }
    this.clock = Math.max(this.clock + 1, record.version)
    const version = record.version === 0 ? this.clock : record.version
    this.rows.set(id, { ...record, version })
    return Effect.succeed({
      id,
      version,
      contentHash: record.contentHash,
      durability: this.reached ?? options.durability ?? "wal",
      previousVersion: live?.version,
      compared: true
    })
  }

  private results(
    effects: ReadonlyArray<readonly [string, Effect.Effect<Receipt, WriteError>]>
  ): Effect.Effect<ReadonlyArray<SubmitResult>> {
    return Effect.forEach(effects, ([id, effect]) =>
      Effect.match(effect, {
        onFailure: (error): SubmitResult => ({ _tag: "Rejected", id, error }),
        onSuccess: (receipt): SubmitResult => ({ _tag: "Acknowledged", receipt })
      })
    )
  }

  private live(select: (record: ItemRecord) => boolean, after: string | undefined): Array<ItemRecord> {
    return [...this.rows.values()]
      .filter((record) => !record.deleted && select(record) && (after === undefined || record.id > after))
      .sort((a, b) => (a.id < b.id ? -1 : 1))
  }

  readonly report: ShutdownReport = {
    flushedWal: true,
    finalCheckpoint: true,
    filterSnapshot: true,
    itemsFlushed: 3,
    itemsLeftInLog: 0,
    problems: [],
    startedAtMs,
    completedAtMs: startedAtMs + 5,
    durationMs: 5
  }

  readonly service: SyncEngineApi = {
    submit: (item, options) => this.write("submit", [item, options], () => this.put(item, options)),
    submitMany: (items, options) =>
      this.write("submitMany", [items, options], () =>
        this.results(items.map((item) => [item.id, Effect.suspend(() => this.put(item, options))]))
      ),
    delete: (id, options) =>
      this.write("delete", [id, options], () =>
        this.store(tombstone(id, options?.version ?? 0, startedAtMs), options ?? {})
      ),
    deleteMany: (ids, options) =>
      this.write("deleteMany", [ids, options], () =>
        this.results(
          ids.map((id) => [
            id,
            Effect.suspend(() => this.store(tombstone(id, 0, startedAtMs), options ?? {}))
          ])
        )
      ),
    setState: () => Effect.succeedNone,
    deleteByState: () => Effect.succeed(0),
    deletePrefix: () => Effect.succeed(0),
    get: (id) =>
      this.read("get", [id], () =>
        Option.fromNullable(this.rows.get(id)).pipe(Option.filter((r) => !r.deleted))
      ),
    getMany: () => Effect.succeed(new Map()),
    getVerified: (id) =>
      this.read("getVerified", [id], () =>
        Option.fromNullable(this.rows.get(id)).pipe(Option.filter((r) => !r.deleted))
      ),
    getOrInsertWith: () => Effect.dieMessage("not used over HTTP"),
    contains: (id) => Effect.succeed(this.rows.has(id)),
    definitelyMissing: (id) => Effect.succeed(!this.rows.has(id)),
    mightExist: (id) => Effect.succeed(this.rows.has(id)),
    isCurrent: () => Effect.succeed(false),
    status: (id) =>
      Effect.succeed({
        id,
        state: "absent",
        version: undefined,
        contentHash: undefined,
        inMemory: false,
        lostVersion: undefined
      }),
    getByState: (state) => Stream.fromIterable(this.live((record) => record.state === state, undefined)),
    countByState: () => Effect.succeed(0),
    listStateIds: () => Effect.succeed([]),
    scanPrefix: (prefix, options) =>
      Stream.unwrap(
        this.read("scanPrefix", [prefix, options], () =>
          Stream.rechunk(
            Stream.fromIterable(
              this.live(
                ({ id }) => prefix === "" || id === prefix || id.startsWith(`${prefix}.`),
                options?.after
              )
            ),
            16
          )
        )
      ),
    scanPage: () => Effect.succeed([]),
    // Answers fewer than asked for, as an archive does whose pages are bounded by bytes.
    statePage: (state, page) =>
      this.read("statePage", [state, page], () =>
        this.live((record) => record.state === state, page?.after).slice(0, Math.min(3, page?.limit ?? 3))
      ),
    countPrefix: () => Effect.succeed(0),
    merkleRoot: this.read("merkleRoot", [], () => "a".repeat(64)),
    merkleNode: (path) =>
      this.read("merkleNode", [path], () =>
        path === "geo" ? Option.some({ path, count: 3, sum: 255n, digest: "b".repeat(64) }) : Option.none()
      ),
    merkleChildren: (path, page) =>
      this.read("merkleChildren", [path, page], () =>
        (path === "geo" ? ["de", "fr", "it"] : [])
          .map((name) => ({ name, kind: "leaf" as const, count: 1, digest: "c".repeat(64) }))
          .filter(({ name }) => page?.after === undefined || name > page.after.name)
          .slice(0, page?.limit)
      ),
    verify: (options) =>
      this.read("verify", [options], () => ({
        inSync: true,
        complete: true,
        archiveRoot: "a".repeat(64),
        cacheRoot: undefined,
        recomputed: { root: "a".repeat(64), rows: this.rows.size },
        checked: { rows: this.rows.size, contents: 0, values: 0 },
        differences: this.differences,
        differencesTotal: this.differences.length,
        unchecked: [],
        pending: 0
      })),
    repair: (options) =>
      this.read("repair", [options], () => ({
        inSync: true,
        complete: true,
        archiveRoot: "a".repeat(64),
        cacheRoot: "a".repeat(64),
        treeRebuilt: true,
        contentsRestored: 1,
        contentsLost: 1,
        lost: ["gone"],
        cacheWritten: 2,
        cacheRemoved: 3,
        cacheRebuilt: false,
        valuesRewritten: 4,
        memoryDropped: 5,
        checked: { rows: 6, contents: 7, values: 8 },
        problems: []
      })),
    isSynced: this.read("isSynced", [], () => true),
    merkleSource: {
      root: this.read("merkleSource.root", [], () => "a".repeat(64)),
      node: (path) => Effect.suspend(() => this.tree().node(path)),
      branches: (path, page) => Effect.suspend(() => this.tree().branches(path, page)),
      leaves: (path, page) =>
        this.read("merkleSource.leaves", [path, page], () => undefined).pipe(
          Effect.zipRight(Effect.suspend(() => this.tree().leaves(path, page)))
        ),
      leafSum: (path, range) => Effect.suspend(() => this.tree().leafSum(path, range)),
      leafParts: (path, range, size) => Effect.suspend(() => this.tree().leafParts(path, range, size))
    },
    findDivergent: () => Stream.empty,
    flush: this.read("flush", [], () => ({ flushed: 2, deadLettered: 1, pending: 0 })),
    tick: Effect.void,
    warmUp: Effect.void,
    setReadOnly: (readOnly) =>
      Effect.sync(() => {
        this.readOnly = readOnly
      }),
    deadLetters: {
      list: (page) =>
        Effect.sync(() =>
          this.letters.filter(({ sequence }) => sequence > (page?.after ?? 0)).slice(0, page?.limit)
        ),
      retry: (sequences) => this.write("retry", [sequences], () => Effect.sync(() => this.take(sequences))),
      drop: (sequences) => Effect.sync(() => this.take(sequences))
    },
    drain: Effect.suspend(() => this.lifecycle.beginDrain),
    shutdown: Effect.gen(this, function* () {
      if (yield* this.lifecycle.beginShutdown) {
        yield* this.beforeReport
        yield* this.lifecycle.complete({ ...this.report, problems: this.problems })
      }
      const report = yield* this.lifecycle.awaitReport
      yield* this.afterReport
      return report
    }),
    health: Effect.sync(() => {
      this.note("health")
      return {
        lifecycle: this.lifecycle.unsafeSnapshot(),
        acceptsWrites: this.lifecycle.acceptsWrites() && !this.readOnly && this.logProblem === undefined,
        acceptsQueries: this.lifecycle.acceptsQueries(),
        readOnly: this.readOnly,
        degraded: [
          { component: "cache" as const, reason: "refused", since: startedAtMs },
          ...(this.logProblem === undefined
            ? []
            : [{ component: "log" as const, reason: this.logProblem, since: startedAtMs }])
        ],
        archive: { dialect: "memory", target: "memory", available: true },
        cache: { configured: true, available: false, trusted: false },
        filter: { trusted: false, entries: 0, reason: undefined },
        backpressure: { level: "Normal" as const, pressure: 0 }
      }
    }),
    stats: Effect.sync(() => ({
      startedAtMs,
      uptimeMs: 10,
      log: {
        items: 1,
        bytes: 2,
        letters: 0,
        letterBytes: 0,
        maxItems: 3,
        maxBytes: 4,
        committed: 5,
        released: 6
      },
      memory: { items: 1, bytes: 2, maxBytes: 3, hits: 4, misses: 5, evictions: 6 },
      pending: 1,
      acknowledged: 2,
      archived: 3,
      superseded: 4,
      deadLetters: this.letters.length,
      flushes: { count: 1, bytes: 2, age: 3, forced: 4, recovery: 5, shutdown: 6 },
      flushFailures: 7,
      startupTimings: [["wal_init", 12] as const]
    })),
    changes: () => Stream.empty,
    phaseChanges: Stream.empty,
    bootStageChanges: Stream.empty
  }

  private take(sequences: ReadonlyArray<number> | undefined): number {
    const before = this.letters.length
    this.letters = this.letters.filter(
      ({ sequence }) => sequences !== undefined && !sequences.includes(sequence)
    )
    return before - this.letters.length
  }
}
