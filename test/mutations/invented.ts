/**
 * Defects that were invented by reading `src` alone, room by room, before any test or any other defect was read: what a
 * programmer could get wrong, not what the tests look at.
 */
import type { Mutation } from "./mutations.js"

export const invented: ReadonlyArray<Mutation> = [
  {
    name: "a group that could not be committed keeps its share of the log's bounds",
    file: "src/wal/GroupCommit.ts",
    find: "          this.hold(group, -1)\n",
    replace: "",
    tests: ["test/wal/SqliteLog.test.ts"]
  },
  {
    name: "the log reads again what a partly released segment holds below the mark",
    file: "src/wal/LogFile.ts",
    find: "const from = Math.max(after, this.released)",
    replace: "const from = after",
    tests: ["test/wal/SqliteLog.test.ts"]
  },
  {
    name: "a transaction goes on in a new thread when its own has died",
    file: "src/archive/sqlite/SqliteWorkerClient.ts",
    find: "return connectionOver(threads, () => own)",
    replace: 'return connectionOver(threads, () => threads.of("writer"))',
    tests: ["test/archive/sqlite/SqliteFailures.test.ts"]
  },
  {
    name: "a connection's slot is given back by a wait that never got it",
    file: "src/archive/mysql/Slots.ts",
    find: "if (granted) this.giveBack()",
    replace: "this.giveBack()",
    tests: ["test/archive/mysql/Slots.test.ts"]
  },
  {
    name: "a connection whose answer is overdue is kept for the next caller",
    file: "src/archive/mysql/MysqlConnection.ts",
    find: "const timer = setTimeout(() => this.lose(late()), limitMs)\n      this.asked",
    replace: "const timer = setTimeout(() => fail(late()), limitMs)\n      this.asked",
    tests: ["test/integration/archive/MysqlStalls.test.ts"]
  },
  {
    name: "another sole writer is looked for before the tree's top row is locked",
    file: "src/archive/sql/SqlCommit.ts",
    find: "    yield* changing(session, delta, plan.maxVersion)\n    yield refuseOthers(session, statements, node)\n",
    replace:
      "    yield refuseOthers(session, statements, node)\n    yield* changing(session, delta, plan.maxVersion)\n",
    tests: ["test/integration/archive/MysqlLocks.test.ts"]
  },
  {
    name: "after a failed probe the circuit lets no other one through",
    file: "src/cache/CircuitBreaker.ts",
    find: "    this.openedAt = now\n    this.probing = false\n",
    replace: "    this.openedAt = now\n",
    tests: ["test/cache/CircuitBreaker.test.ts"]
  },
  {
    name: "a removal at a version leaves the item of that very version in Redis",
    file: "src/cache/RedisWrites.ts",
    find: "held.head.version > newest.get(id)!",
    replace: "held.head.version >= newest.get(id)!",
    tests: ["test/integration/cache/RedisCache.test.ts"]
  },
  {
    name: "a commit that ended after the lease proves the filter",
    file: "src/filter/FilterTrust.ts",
    find: "ticket.under === grant.token && now < grant.until\n",
    replace: "ticket.under === grant.token\n",
    tests: ["test/filter/ExistenceFilterTrust.test.ts"]
  },
  {
    name: "a ghost is remembered one insertion too long",
    file: "src/memory/GhostQueue.ts",
    find: "insertedAt === 0 || this.#ageOf(insertedAt) >= limit",
    replace: "insertedAt === 0 || this.#ageOf(insertedAt) > limit",
    tests: ["test/memory/GhostQueue.test.ts"]
  },
  {
    name: "a repair looks at the cache after the archive, and removes what was written in between",
    file: "src/reconcile/Resync.ts",
    find: "    const held = byId(yield* cache.heads(ids))\n    const rows = byId(yield* archive.getMany(ids))\n",
    replace:
      "    const rows = byId(yield* archive.getMany(ids))\n    const held = byId(yield* cache.heads(ids))\n",
    tests: ["test/reconcile/Resync.test.ts"]
  },
  {
    name: "a write that loses to other nodes is written again without end",
    file: "src/engine/write/LogAppend.ts",
    find: "    final: true\n",
    replace: "    final: false\n",
    tests: ["test/engine/write/Compared.test.ts"]
  },
  {
    name: "a batch is finished before the one in front of it",
    file: "src/engine/flush/Flusher.ts",
    find: "            yield* finishing\n            finishing = Fiber.join",
    replace: "            finishing = Fiber.join",
    tests: ["test/engine/flush/Changes.test.ts"]
  },
  {
    name: "what a cache said is believed although its trust has gone meanwhile",
    file: "src/engine/read/TierReads.ts",
    find: "Effect.succeed(cache.trusted ? records.filter((record) => !record.deleted) : [])",
    replace: "Effect.succeed(records.filter((record) => !record.deleted))",
    tests: ["test/engine/read/CacheReads.test.ts"]
  },
  {
    name: "the newest version is taken from an answer older than a write archived meanwhile",
    file: "src/engine/query/VerifiedReads.ts",
    find: "now === undefined && (pending !== undefined || watches.get(id)!.dirty)",
    replace: "now === undefined && pending !== undefined",
    tests: ["test/engine/read/PointReads.test.ts"]
  },
  {
    name: "what the log holds at a start counts as compared with the archive",
    file: "src/engine/startup/Phases.ts",
    find: "core.pending.add(record, sequence, true)",
    replace: "core.pending.add(record, sequence, false)",
    tests: ["test/engine/startup/Lifecycle.test.ts"]
  },
  {
    name: "the report of a start whose log could not be opened says that it was checkpointed",
    file: "src/engine/shutdown/Shutdown.ts",
    find: "finalCheckpoint: (closed || !opened) && known,",
    replace: "finalCheckpoint: closed || !opened,",
    tests: ["test/engine/shutdown/Shutdown.test.ts"]
  },
  {
    name: "only one page of old tombstones is removed in a round",
    file: "src/engine/background/BackgroundTasks.ts",
    find: "until: (removed) => removed < tombstonesPerPurge",
    replace: "until: (removed) => removed <= tombstonesPerPurge",
    tests: ["test/engine/background/RunLoop.test.ts"]
  },
  {
    name: "a batch of which some lines were written is refused as a whole",
    file: "src/http/batch/BatchHandler.ts",
    find: "if (failEarly && !written && Either.isLeft(results))",
    replace: "if (failEarly && Either.isLeft(results))",
    tests: ["test/http/batch/BatchHandler.test.ts"]
  },
  {
    name: "ingest tries an earlier line again although a later one of its id was taken",
    file: "src/cli/ingest/Ingest.ts",
    find: "isWaitable(result.error) && !taken.has(entry.item.id)",
    replace: "isWaitable(result.error)",
    tests: ["test/cli/ingest/Ingest.test.ts"]
  },
  {
    name: "log and archive may be one file that is spelled in two ways",
    file: "src/config/Validation.ts",
    find: "resolve(target.path) === resolve(walFile(config))",
    replace: "target.path === walFile(config)",
    tests: ["test/EngineConfig.test.ts"]
  }
]
