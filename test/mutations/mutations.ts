/** A deliberate defect. */
export interface Mutation {
  /** What breaks. */
  readonly name: string
  readonly file: string
  /** The text that is replaced; it stands exactly once in the file. */
  readonly find: string
  readonly replace: string
  /** The test files that must notice. */
  readonly tests: ReadonlyArray<string>
}

/** Every entry broke a promise unnoticed once, or guards one. */
export const mutations: ReadonlyArray<Mutation> = [
  {
    name: "a SCAN that goes round in circles is followed for ever",
    file: "src/cache/RedisConnection.ts",
    find: "cursor === earlier || ",
    replace: "",
    tests: ["test/cache/HostileRedis.test.ts"]
  },
  {
    name: "a SCAN may take any number of steps",
    file: "src/cache/RedisConnection.ts",
    find: " || step >= mostSteps",
    replace: "",
    tests: ["test/cache/HostileRedis.test.ts"]
  },
  {
    name: "a page of a SCAN that makes no sense ends the fiber",
    file: "src/cache/RedisConnection.ts",
    find: "const names = yield* this.sane(operation, () => {",
    replace: "const names = yield* Effect.sync(() => {",
    tests: ["test/cache/HostileRedis.test.ts"]
  },
  {
    name: "children that do not go forward are read for ever",
    file: "src/cache/RedisTree.ts",
    find: " || behind.length === 0",
    replace: "",
    tests: ["test/cache/HostileRedis.test.ts"]
  },
  {
    name: "a damaged tree goes down for ever",
    file: "src/cache/RedisTree.ts",
    find: "if (Buffer.byteLength(id) > maxIdBytes) continue",
    replace: "",
    tests: ["test/cache/HostileRedis.test.ts"]
  },
  {
    name: "a greeting that is no list is read as one",
    file: "src/cache/RedisServer.ts",
    find: "if (!Array.isArray(reply)) throw",
    replace: "if (reply === undefined) throw",
    tests: ["test/cache/HostileRedis.test.ts"]
  },
  {
    name: "a connection that ends in order leaves no reason",
    file: "src/cache/RedisConnection.ts",
    find: 'cause: unknown = "the connection was lost"',
    replace: 'cause: unknown = ""',
    tests: ["test/cache/HostileRedis.test.ts"]
  },
  {
    name: "what a cache has missed is repaired by reading both trees",
    file: "src/reconcile/Resync.ts",
    find: "if (missed.length > 0 && !",
    replace: "if (missed.length < 0 && !",
    tests: ["test/engine/cache/CacheMisses.test.ts"]
  },
  {
    name: "a write to the cache that was not waited for is not kept in mind",
    file: "src/engine/cache/CacheWriter.ts",
    find: "      onFailure: (cause) => {\n        missed()\n",
    replace: "      onFailure: (cause) => {\n",
    tests: ["test/engine/cache/CacheMisses.test.ts"]
  },
  {
    name: "another node's write that a commit met is not kept in mind",
    file: "src/engine/cache/CacheWriter.ts",
    find: "core.cacheMisses.add(superseded.map(({ stored }) => stored))",
    replace: "",
    tests: ["test/engine/cache/CacheMisses.test.ts"]
  },
  {
    name: "what the log held at the start is not kept in mind for the cache",
    file: "src/engine/cache/CacheWriter.ts",
    find: "if (cache === undefined) return Effect.sync(missed)",
    replace: "if (cache === undefined) return Effect.void",
    tests: ["test/engine/cache/CacheMisses.test.ts"]
  },
  {
    name: "what a cache has missed is kept for ever",
    file: "src/engine/state/CacheTrust.ts",
    find: "    this.misses.clear()\n",
    replace: "",
    tests: ["test/engine/state/CacheTrust.test.ts"]
  },
  {
    name: "a read that is replied to with nothing is asked again for ever",
    file: "src/cache/RedisItems.ts",
    find: "items < 1 || ",
    replace: "",
    tests: ["test/cache/HostileRedis.test.ts"]
  },
  {
    name: "a deep reply of Redis ends the process",
    file: "src/cache/RedisSource.ts",
    find: '    client.once("connect", () => guardReplies(client.stream))\n',
    replace: "",
    tests: ["test/cache/HostileRedis.test.ts"]
  },
  {
    name: "an item below a branch passes for a leaf of the path above",
    file: "src/archive/sql/SqlTree.ts",
    find: '    if (name.includes(".")) break\n',
    replace: "",
    tests: ["test/archive/sqlite/SqliteArchive.test.ts"]
  },
  {
    name: "a range of leaves ends before its last name",
    file: "src/archive/sql/SqlTree.ts",
    find: "upTo)}\\u0000",
    replace: "upTo)}",
    tests: ["test/archive/sqlite/SqliteArchive.test.ts"]
  },
  {
    name: "a list of leaves that does not go forward is read for ever",
    file: "src/cache/RedisTree.ts",
    find: "compareBytes(last.name, before) <= 0",
    replace: "last.name === undefined",
    tests: ["test/cache/HostileRedis.test.ts"]
  },
  {
    name: "behind the last part of a range nobody looks",
    file: "src/reconcile/Divergence.ts",
    find: "upTo: isLast ? range.upTo : part.upTo",
    replace: "upTo: part.upTo",
    tests: ["test/reconcile/Divergence.test.ts"]
  },
  {
    name: "a part that differs is read again for every question",
    file: "src/reconcile/Divergence.ts",
    find: "return left === 0 || left > heldAtOnce ? open",
    replace: "return left >= 0 ? open",
    tests: ["test/reconcile/Divergence.test.ts"]
  },
  {
    name: "verification does not look at an embedded archive's file as a whole",
    file: "src/reconcile/Verify.ts",
    find: "options.budget === undefined ? yield* archive.damage : undefined",
    replace: "undefined as string | undefined",
    tests: ["test/archive/sqlite/AtRest.test.ts"]
  },
  {
    name: "one row with a number that no write has brought cannot be verified, repaired or replaced",
    file: "src/merkle/Digest.ts",
    find: "if (!(value >= 0 && value <= Number.MAX_SAFE_INTEGER)) {",
    replace: "if (input.length === 0) {",
    tests: ["test/archive/sqlite/HostileRows.test.ts", "test/merkle/Merkle.test.ts"]
  },
  {
    name: "a page that ends with an id that is no text comes again for ever",
    file: "src/archive/sql/SqlTree.ts",
    find: "if (after === undefined || last === undefined || compareBytes(after, last) < 0) return",
    replace: "if (page.length >= 0) return",
    tests: ["test/archive/sqlite/HostileRows.test.ts"]
  },
  {
    name: "a version beyond all numbers cannot be repaired",
    file: "src/archive/sql/SqlTree.ts",
    find: "Math.min(Number(versions?.version ?? 0), Number.MAX_SAFE_INTEGER)",
    replace: "Number(versions?.version ?? 0)",
    tests: ["test/archive/sqlite/HostileRows.test.ts"]
  },
  {
    name: "tables of a later version of the engine are written to",
    file: "src/archive/sql/Schema.ts",
    find: "if (newest <= steps.length) return",
    replace: "if (newest > 0) return",
    tests: ["test/archive/sqlite/HostileRows.test.ts"]
  },
  {
    name: "a live item with a time of deletion is purged",
    file: "src/archive/sql/SqlCommit.ts",
    find: " AND deleted = 1 ` +",
    replace: " ` +",
    tests: ["test/archive/sqlite/HostileRows.test.ts"]
  },
  {
    name: "a commit that ended first of two counts as one that was alone",
    file: "src/filter/FilterTrust.ts",
    find: "const alone = ticket.alone && ticket.serial === this.serial",
    replace: "const alone = ticket.serial === this.serial",
    tests: ["test/filter/ExistenceFilterTrust.test.ts"]
  },
  {
    name: "a commit that began first of two counts as one that was alone",
    file: "src/filter/FilterTrust.ts",
    find: "const alone = ticket.alone && ticket.serial === this.serial",
    replace: "const alone = ticket.alone",
    tests: ["test/filter/ExistenceFilterTrust.test.ts"]
  },
  {
    name: "one commit of unknown outcome excuses every later change of the archive",
    file: "src/filter/FilterTrust.ts",
    find: "    if (alone) this.uncertain = false\n",
    replace: "",
    tests: ["test/filter/ExistenceFilterTrust.test.ts"]
  },
  {
    name: "a commit beside one of unknown outcome makes that one certain",
    file: "src/filter/FilterTrust.ts",
    find: "    if (alone) this.uncertain = false\n",
    replace: "    this.uncertain = false\n",
    tests: ["test/filter/ExistenceFilterTrust.test.ts"]
  },
  {
    name: "a closed filter keeps its tables",
    file: "src/filter/FilterTrust.ts",
    find: "    this.closed = true\n    this.covers = undefined\n",
    replace: "    this.closed = true\n",
    tests: ["test/filter/ExistenceFilterTrust.test.ts"]
  },
  {
    name: "a row on MySQL that is neither deleted nor not can never be written again",
    file: "src/archive/mysql/MysqlDialect.ts",
    find: '"(deleted = 1)", "content_hash"]',
    replace: '"deleted", "content_hash"]',
    tests: ["test/integration/archive/HostileRows.test.ts"]
  },
  {
    name: "a node waits for ever for a writer whose row names an endless lease",
    file: "src/archive/WriterLease.ts",
    find: "Math.min(row.leaseMs, longestLeaseMs)",
    replace: "row.leaseMs",
    tests: ["test/filter/ExistenceFilterTrust.test.ts"]
  },
  {
    name: "a row whose fields make no sense is no damage",
    file: "src/reconcile/ValueCheck.ts",
    find: "if (isSenseless(item) || ",
    replace: "if (",
    tests: ["test/archive/sqlite/AtRest.test.ts"]
  },
  {
    name: "a log without its last page passes for whole",
    file: "src/wal/LogFileProof.ts",
    find: "if (committed < state.committed)",
    replace: "if (committed < 0)",
    tests: ["test/wal/AtRest.test.ts"]
  },
  {
    name: "a log does not note what it holds before its -wal file is folded in",
    file: "src/wal/LogFile.ts",
    find: "    if (this.isUnsealed) this.changing(() => [{}, undefined])\n",
    replace: "",
    tests: ["test/wal/AtRest.test.ts"]
  },
  {
    name: "dead letters of an older page pass for the newest",
    file: "src/wal/LogFileProof.ts",
    find: "if (sum !== state.letters)",
    replace: "if (sum < 0)",
    tests: ["test/wal/AtRest.test.ts"]
  },
  {
    name: "what a log says about its archive is not proven",
    file: "src/wal/LogFileProof.ts",
    find: "if (bindingChecksum(bound) !== state.binding)",
    replace: "if (bindingChecksum(bound) < 0)",
    tests: ["test/wal/AtRest.test.ts"]
  },
  {
    name: "an index of the log is not looked into",
    file: "src/wal/LogFileProof.ts",
    find: 'db.pragma("integrity_check(1)"',
    replace: 'db.pragma("quick_check(1)"',
    tests: ["test/wal/AtRest.test.ts"]
  },
  {
    name: "compare-and-set ignores the expected hash",
    file: "src/engine/write/SingleWrites.ts",
    find: " && (contentHash === undefined || current?.contentHash === contentHash)",
    replace: "",
    tests: ["test/engine/write/CompareAndSet.test.ts"]
  },
  {
    name: "a write that is always too slow blocks what is behind it",
    file: "src/engine/flush/Flusher.ts",
    find: "return times < mostOverdueAlone\n",
    replace: "return times > 0\n",
    tests: ["test/engine/flush/Flusher.test.ts"]
  },
  {
    name: "a write is put aside as too slow while the archive is unavailable",
    file: "src/engine/flush/Flusher.ts",
    find: "Effect.matchEffect(archive.ping, {",
    replace: "Effect.matchEffect(Effect.as(Effect.void, archive.ping), {",
    tests: ["test/engine/flush/Flusher.test.ts"]
  },
  {
    name: "a letter put back puts no id in doubt",
    file: "src/engine/state/KnownVersions.ts",
    find: "    for (const { record, sequence } of letters) this.inDoubt.set(record.id, sequence)\n",
    replace: "",
    tests: ["test/engine/query/DeadLetters.test.ts"]
  },
  {
    name: "memory is believed of an id in doubt",
    file: "src/engine/state/KnownVersions.ts",
    find: "    return letters.map(({ record }) => record.id)\n",
    replace: "    return []\n",
    tests: ["test/engine/query/DeadLetters.test.ts"]
  },
  {
    name: "a pending write that a letter put back has overtaken counts as compared",
    file: "src/engine/state/KnownVersions.ts",
    find: "    if (letters.isInDoubt(known.id)) return true\n",
    replace: "",
    tests: ["test/engine/query/DeadLetters.test.ts"]
  },
  {
    name: "a write does not tell the filter",
    file: "src/engine/write/LogAppend.ts",
    find: "    core.filter?.beforeWrite(records)\n",
    replace: "",
    tests: ["test/engine/background/Filter.test.ts"]
  },
  {
    name: "a write is in flight before the filter has taken it",
    file: "src/engine/write/LogAppend.ts",
    find: "    core.filter?.beforeWrite(records)\n    for (const write of writes) core.inFlight.add(write)\n",
    replace:
      "    for (const write of writes) core.inFlight.add(write)\n    core.filter?.beforeWrite(records)\n",
    tests: ["test/engine/write/FullFilter.test.ts"]
  },
  {
    name: "who cannot be written once more is not told",
    file: "src/engine/write/LogAppend.ts",
    find: "        for (const place of places) set(place, resultOf(writes[place]!, outcomes[place]!))\n        done()\n",
    replace: "",
    tests: ["test/engine/write/FullFilter.test.ts"]
  },
  {
    name: "after very many writes that never came to a commit the filter denies none to it",
    file: "src/filter/TrackedFilter.ts",
    find: "      this.denied = new Set()\n",
    replace: "      return\n",
    tests: ["test/filter/ExistenceFilterTrust.test.ts"]
  },
  {
    name: "the ring of known heads does not let go of what it overwrites",
    file: "src/archive/KnownHeads.ts",
    find: "    if (old !== undefined) places.delete(old)\n",
    replace: "",
    tests: ["test/archive/KnownHeads.test.ts"]
  },
  {
    name: "the replay does not tell the filter",
    file: "src/engine/startup/Phases.ts",
    find: "      core.filter?.beforeWrite(page.map(({ record }) => record))\n",
    replace: "",
    tests: ["test/engine/background/Filter.test.ts"]
  },
  {
    name: "a compare-and-set believes memory while others may write",
    file: "src/engine/write/SingleWrites.ts",
    find: "const sole = core.writer.isCertain()",
    replace: "const sole = true",
    tests: ["test/engine/write/Decisions.test.ts"]
  },
  {
    name: "decisions read memory and cache while others may write",
    file: "src/engine/read/TierReads.ts",
    find: "past: (core) => !core.writer.isCertain() }",
    replace: "past: () => false }",
    tests: ["test/engine/write/Decisions.test.ts"]
  },
  {
    name: "a new lease keeps what memory has read before",
    file: "src/engine/state/EngineState.ts",
    find: "    this.here.memory.clear()\n",
    replace: "",
    tests: ["test/engine/write/Decisions.test.ts"]
  },
  {
    name: "a new lease counts while older writes are in the log",
    file: "src/engine/state/EngineState.ts",
    find: "return tail.consumed >= lease.settledAt || tail.isEmpty",
    replace: "return true",
    tests: ["test/engine/write/Decisions.test.ts"]
  },
  {
    name: "a cache's value is believed after trust has gone",
    file: "src/engine/read/TierReads.ts",
    find: "cache.trusted ? records.filter((record) => !record.deleted) : []",
    replace: "records.filter((record) => !record.deleted)",
    tests: ["test/engine/write/Decisions.test.ts"]
  },
  {
    name: "a verified read believes the cache",
    file: "src/engine/query/VerifiedReads.ts",
    find: "(yield* reads.fetchStored([id])).get(id)",
    replace: "(yield* reads.fetch([id])).get(id)",
    tests: ["test/engine/write/Decisions.test.ts"]
  },
  {
    name: "deleteByState does not look again",
    file: "src/engine/query/RangeQueries.ts",
    find: "return newest !== undefined && (newest.deleted || !inState(range, newest.state))",
    replace: "return false && newest !== undefined",
    tests: ["test/engine/write/Decisions.test.ts"]
  },
  {
    name: "an own version passes for a new one below a tombstone",
    file: "src/engine/write/SingleWrites.ts",
    find: "if (asked.head !== undefined || !expected.isOwn) return then(asked)",
    replace: "if (id.length > 0) return then(asked)",
    tests: ["test/engine/write/CompareAndSet.test.ts"]
  },
  {
    name: "insertions that wait for each other are not noticed",
    file: "src/engine/query/GetOrInsert.ts",
    find: "            if (waitsFor(other, outer)) return circle(id)\n",
    replace: "",
    tests: ["test/engine/query/GetOrInsert.test.ts"]
  },
  {
    name: "an exception leaves writes under way behind",
    file: "src/engine/write/BatchWrites.ts",
    find: "      for (const write of writes) core.inFlight.remove(write)\n",
    replace: "",
    tests: ["test/engine/write/Submitted.test.ts"]
  },
  {
    name: "a snapshot of the filter is hashed in one turn",
    file: "src/filter/FilterSnapshot.ts",
    find: "at += pieceBytes",
    replace: "at += end",
    tests: ["test/filter/FilterSnapshot.test.ts"]
  },
  {
    name: "each text has a buffer of its own",
    file: "src/engine/write/WriteValidation.ts",
    find: "? keptContent(bytes) : bytes",
    replace: "? bytes : bytes",
    tests: ["test/engine/write/WriteOperations.test.ts"]
  },
  {
    name: "a batch returns when its first turn has ended",
    file: "src/engine/write/BatchWrites.ts",
    find: "if (--this.open === 0) this.resume?.()",
    replace: "this.resume?.()",
    tests: ["test/engine/write/WriteOperations.test.ts"]
  },
  {
    name: "a single write on its way is not known",
    file: "src/engine/write/LogAppend.ts",
    find: "    for (const write of writes) core.inFlight.add(write)\n",
    replace: "",
    tests: ["test/engine/write/CompareAndSet.test.ts"]
  },
  {
    name: "contents with lone surrogates are taken",
    file: "src/SyncItem.ts",
    find: "content.isWellFormed() ? encoder.encode(content) : illFormed",
    replace: "encoder.encode(content)",
    tests: ["test/engine/write/Submitted.test.ts"]
  },
  {
    name: "a lost buffer is taken for an empty content",
    file: "src/SyncItem.ts",
    find: 'return isGone(content) ? "is a view of a buffer that is gone (transferred or shrunk)" : content',
    replace: "return content",
    tests: ["test/engine/write/Submitted.test.ts"]
  },
  {
    name: "a volatile item fills memory",
    file: "src/engine/read/TierReads.ts",
    find: "    if (mayExpire) return\n",
    replace: "",
    tests: ["test/engine/write/CacheOnlyItems.test.ts"]
  },
  {
    name: "several writes of one id cost their square",
    file: "src/engine/state/NewestPerId.ts",
    find: "return known instanceof Several ? known.newest : known",
    replace:
      "return known instanceof Several ? [...known.all.values()].reduce((a, b) => this.newer(a, b)) : known",
    tests: ["test/engine/state/PendingIndex.test.ts"]
  },
  {
    name: "pipelined requests run side by side",
    file: "src/http/node/Connection.ts",
    find: "if (this.current === undefined) this.begin(exchange)",
    replace: "if (this.waiting.length >= 0) this.begin(exchange)",
    tests: ["test/http/Wire.test.ts"]
  },
  {
    name: "an early refusal is cut off",
    file: "src/http/node/Connection.ts",
    find: "socket.destroySoon = () => this.end()",
    replace: "socket.destroySoon",
    tests: ["test/http/Wire.test.ts"]
  },
  {
    name: "a client that closed its side gets no answer",
    file: "src/http/node/NodeServer.ts",
    find: "Object.assign(server, { httpAllowHalfOpen: true })",
    replace: "",
    tests: ["test/http/Wire.test.ts"]
  },
  {
    name: "unknown query parameters pass",
    file: "src/http/middleware/RequestTarget.ts",
    find: "if (!route.parameters.has(name))\n",
    replace: "if (route === undefined)\n",
    tests: ["test/http/Wire.test.ts"]
  },
  {
    name: "deep JSON is parsed by recursion",
    file: "src/http/middleware/RequestBody.ts",
    find: "if (isDeeper(value, maxDepth)) return",
    replace: "if (isDeeper(value, Infinity)) return",
    tests: ["test/http/Wire.test.ts"]
  },
  {
    name: "every body is asked for",
    file: "src/http/node/NodeServer.ts",
    find: "awaitsContinue(request, response)",
    replace: "response.writeContinue()",
    tests: ["test/http/Wire.test.ts"]
  },
  {
    name: "gzip before chunked passes",
    file: "src/http/middleware/RequestTarget.ts",
    find: 'coding.trim().toLowerCase() !== "chunked"',
    replace: '!coding.includes("chunked")',
    tests: ["test/http/Wire.test.ts"]
  },
  {
    name: "the durability header lies",
    file: "src/http/handlers/ItemHandlers.ts",
    find: '"x-sync-durability": durability',
    replace: '"x-sync-durability": "archive"',
    tests: ["test/http/Wire.test.ts"]
  },
  {
    name: "half a file is success",
    file: "src/cli/io/NodeStdio.ts",
    find: "for (let written = 0; written < data.length; ) written += writeSync(1, data, written)",
    replace: "writeSync(1, data)",
    tests: ["test/process/Output.test.ts"]
  },
  {
    name: "a full disk is a closed pipe",
    file: "src/cli/io/NodeStdio.ts",
    find: 'error.code === "EPIPE" ? new OutputClosed()',
    replace: "error.code !== undefined ? new OutputClosed()",
    tests: ["test/process/Output.test.ts"]
  },
  {
    name: "a name may stand twice in the file",
    file: "src/config/Load.ts",
    find: "if (twice !== undefined) {",
    replace: 'if (twice === "") {',
    tests: ["test/EngineConfig.test.ts"]
  },
  {
    name: "an outage is told at every meeting",
    file: "src/engine/state/Conditions.ts",
    find: "degradations.begin(component, reason) ? Effect.logWarning(said)",
    replace: "degradations.begin(component, reason) || true ? Effect.logWarning(said)",
    tests: ["test/engine/background/RunLoop.test.ts"]
  },
  {
    name: "the watchdog does not look at group commits",
    file: "src/engine/background/BackgroundTasks.ts",
    find: "underWay: () => core.appends.size > 0,",
    replace: "underWay: () => false,",
    tests: ["test/engine/background/RunLoop.test.ts"]
  },
  {
    name: "the watchdog alerts without an archive",
    file: "src/engine/background/BackgroundTasks.ts",
    find: "underWay: () => core.tiers?.archive !== undefined && !core.tail.isEmpty,",
    replace: "underWay: () => !core.tail.isEmpty,",
    tests: ["test/engine/background/RunLoop.test.ts"]
  },
  {
    name: "one transient failure ends the flush of a shutdown",
    file: "src/engine/Engine.ts",
    find: "() => !shutdown.startFailed && !core.tail.isEmpty",
    replace: "() => false",
    tests: ["test/engine/shutdown/Shutdown.test.ts"]
  },
  {
    name: "a release that fails is tried again until the flush's share is used",
    file: "src/engine/Engine.ts",
    find: "() => !shutdown.startFailed && !core.tail.isEmpty",
    replace: "() => !shutdown.startFailed",
    tests: ["test/engine/shutdown/Shutdown.test.ts"]
  },
  {
    name: "a snapshot that hangs leaves no time to leave the writers' register",
    file: "src/engine/state/ShutdownSteps.ts",
    find: "this.kept += shares[name]",
    replace: 'this.kept += name === "writers\' register" ? 0 : shares[name]',
    tests: ["test/engine/shutdown/Shutdown.test.ts"]
  },
  {
    name: "an archive that hangs when it is closed leaves the log open",
    file: "src/engine/state/ShutdownSteps.ts",
    find: " - timeoutMs * this.kept",
    replace: "",
    tests: ["test/engine/shutdown/Shutdown.test.ts"]
  },
  {
    name: "a drain is forgotten while the start is not through",
    file: "src/engine/AdminOperations.ts",
    find: "Effect.zipRight(served, Effect.ignore(flush))",
    replace: "Effect.ignore(flush)",
    tests: ["test/engine/startup/Lifecycle.test.ts", "test/engine/startup/StartWithoutSql.test.ts"]
  },
  {
    name: "an archive that cannot say which one it is is connected",
    file: "src/engine/startup/ConnectArchive.ts",
    find: "Effect.tap(open, (archive) => bind(core, archive))",
    replace:
      'Effect.tap(open, (archive) => Effect.catchIf(bind(core, archive), ({ kind }) => kind === "unreachable", () => Effect.void))',
    tests: ["test/engine/state/ArchiveBinding.test.ts"]
  },
  {
    name: "another archive is accepted although the log cannot note it",
    file: "src/engine/state/ArchiveBinding.ts",
    find: "        refused === undefined\n",
    replace: "        refused !== null\n",
    tests: ["test/engine/state/ArchiveBinding.test.ts"]
  },
  {
    name: "the deadline is the wall clock's",
    file: "src/engine/state/EngineState.ts",
    find: "return Number(this.time.unsafeCurrentTimeNanos()) / 1e6",
    replace: "return this.time.unsafeCurrentTimeMillis()",
    tests: ["test/engine/shutdown/Shutdown.test.ts"]
  },
  {
    name: "appends without an answer are left so",
    file: "src/engine/shutdown/Shutdown.ts",
    find: "  core.appends.giveUp()\n",
    replace: "",
    tests: ["test/engine/shutdown/Shutdown.test.ts"]
  },
  {
    name: "losses in a shutdown are not in the report",
    file: "src/engine/shutdown/Shutdown.ts",
    find: "  if (lost > 0)",
    replace: "  if (lost < 0)",
    tests: ["test/engine/shutdown/Shutdown.test.ts"]
  },
  {
    name: "a log that could not be opened counts as empty",
    file: "src/engine/shutdown/Shutdown.ts",
    find: "known ? core.committedEntries() : undefined",
    replace: "core.committedEntries()",
    tests: ["test/engine/shutdown/Shutdown.test.ts"]
  },
  {
    name: "SHUTDOWN_DELAY closes the gates at once",
    file: "src/engine/Engine.ts",
    find: "if (shutdownDelay === 0 || !lifecycle.acceptsQueries()) return shutdown",
    replace: "if (shutdownDelay >= 0) return shutdown",
    tests: ["test/engine/startup/Lifecycle.test.ts"]
  },
  {
    name: "readiness stays on after a request to stop",
    file: "src/http/handlers/HealthHandlers.ts",
    find: "snapshot.shutdownRequested === true || ",
    replace: "",
    tests: ["test/process/Rolling.test.ts"]
  },
  {
    name: "the change stream publishes what the archive did not take",
    file: "src/engine/flush/ChangeStream.ts",
    find: "      else this.untaken.add(sequence)",
    replace: "      else this.untaken.has(sequence)",
    tests: ["test/engine/flush/Changes.test.ts"]
  },
  {
    name: "how far the log was carried is not kept",
    file: "src/engine/state/ArchiveBinding.ts",
    find: ": core.log.bind({ ...bound, carriedTo })",
    replace: ": Effect.void",
    tests: ["test/engine/flush/Changes.test.ts"]
  },
  {
    name: "writers at archive wait for the cache",
    file: "src/engine/flush/CommitOutcome.ts",
    find: "  waiters.settle(entries[entries.length - 1]!.sequence, true)\n",
    replace: "",
    tests: ["test/engine/flush/Changes.test.ts"]
  },
  {
    name: "who lost at the archive is told with the next batch, before readers see it",
    file: "src/engine/flush/CommitOutcome.ts",
    find: "  waiters.settle(entries[entries.length - 1]!.sequence, true)",
    replace: "  waiters.settle(entries[entries.length - 1]!.sequence)",
    tests: ["test/engine/write/Compared.test.ts"]
  },
  {
    name: "deleteByState deletes what has another state by the commit",
    file: "src/engine/query/RangeQueries.ts",
    find: "writes.deleteUnless(open, left, range.state !== undefined)",
    replace: "writes.deleteUnless(open, left, false)",
    tests: ["test/engine/write/Compared.test.ts"]
  },
  {
    name: "another archive at a late connect passes",
    file: "src/engine/startup/ConnectArchive.ts",
    find: "    core.gate.wrongArchive = problem\n",
    replace: "",
    tests: ["test/engine/startup/StartWithoutSql.test.ts"]
  },
  {
    name: "a refusal of SQL starts degraded",
    file: "src/engine/startup/ConnectArchive.ts",
    find: 'kind === "unreachable" &&',
    replace: "",
    tests: ["test/engine/startup/StartWithoutSql.test.ts"]
  },
  {
    name: "Kubernetes' variables are unknown names",
    file: "src/config/Load.ts",
    find: "if (isServiceVariable(name, value)) {",
    replace: 'if (value === "" && isServiceVariable(name, value)) {',
    tests: ["test/EngineConfig.test.ts"]
  },
  {
    name: "a flush passes no turn on",
    file: "src/engine/flush/Flusher.ts",
    find: "if (turns.wanted) {",
    replace: "if (turns.wanted && taken < 0) {",
    tests: ["test/engine/flush/Flusher.test.ts"]
  },
  {
    name: "turns are not in order",
    file: "src/shared/Turns.ts",
    find: "const [next] = this.waiting",
    replace: "const next = [...this.waiting].pop()",
    tests: ["test/shared/Turns.test.ts"]
  },
  {
    name: "FLUSH_TIMEOUT does not fire",
    file: "src/engine/flush/FlushBarrier.ts",
    find: "duration: Duration.millis(flushTimeout),",
    replace: "duration: Duration.millis(flushTimeout * 1000),",
    tests: ["test/engine/flush/Flusher.test.ts"]
  },
  {
    name: "a page forgets what is settled meanwhile",
    file: "src/engine/state/PendingIndex.ts",
    find: "    for (const settled of this.watching) settled.set(id, known)\n",
    replace: "",
    tests: ["test/engine/query/Pages.test.ts"]
  },
  {
    name: "a refused wait for a connection that is interrupted gives back a slot",
    file: "src/archive/mysql/Slots.ts",
    find: "if (granted) this.giveBack()",
    replace: "this.giveBack()",
    tests: ["test/archive/mysql/Slots.test.ts"]
  },
  {
    name: "an interrupted wait keeps the slot it got",
    file: "src/archive/mysql/Slots.ts",
    find: "          if (granted) this.giveBack()\n",
    replace: "",
    tests: ["test/archive/mysql/Slots.test.ts"]
  },
  {
    name: "an interrupted page is watched for ever",
    file: "src/engine/state/Watching.ts",
    find: "    (settled) => Effect.sync(() => pending.unwatch(settled))\n",
    replace: "    () => Effect.void\n",
    tests: ["test/engine/state/Watching.test.ts"]
  },
  {
    name: "a page passes pending ids over",
    file: "src/engine/query/Pages.ts",
    find: "const upTo = pending.length === limit ? pending[limit - 1] : bound",
    replace: "const upTo = bound",
    tests: ["test/engine/query/Pages.test.ts"]
  },
  {
    name: "pending ids stand in the order of UTF-16",
    file: "src/engine/state/PendingOrder.ts",
    find: "        if (slice.some((id) => wide.test(id))) self.compare = compareBytes\n",
    replace: "",
    tests: ["test/engine/state/PendingOrder.test.ts"]
  },
  {
    name: "giving way is not bounded in time",
    file: "src/shared/YieldToEventLoop.ts",
    find: "if (left > 1 && performance.now() < until)",
    replace: "if (left > 1)",
    tests: ["test/shared/YieldToEventLoop.test.ts"]
  },
  {
    name: "control characters pass for JSON",
    file: "src/shared/ndjson/JsonText.ts",
    find: "      if (byte < 0x20) return -1\n",
    replace: "",
    tests: ["test/shared/ndjson/JsonText.test.ts"]
  },
  {
    name: "large contents are hashed in one go",
    file: "src/engine/write/BatchWrites.ts",
    find: "        if (index > start && batch.examined?.(index) !== undefined) break\n",
    replace: "",
    tests: ["test/engine/write/Examine.test.ts"]
  },
  {
    name: "pending memory has no bound",
    file: "src/engine/state/EngineState.ts",
    find: "memory / config().pendingMaxBytes",
    replace: "0",
    tests: ["test/engine/write/Pressure.test.ts"]
  },
  {
    name: "another archive passes",
    file: "src/engine/state/ArchiveBinding.ts",
    find: "if (bound.lineage !== lineage) {",
    replace: "if (bound.lineage !== lineage && isEmpty && false) {",
    tests: ["test/engine/state/ArchiveBinding.test.ts"]
  },
  {
    name: "a missing log passes for a new node",
    file: "src/engine/state/ArchiveBinding.ts",
    find: "const lacksLog = bound === undefined && ",
    replace: "const lacksLog = bound !== undefined && ",
    tests: ["test/engine/startup/EmbeddedFiles.test.ts"]
  },
  {
    name: "an emptied archive passes",
    file: "src/engine/state/ArchiveBinding.ts",
    find: "return bound.archived && isEmpty ?",
    replace: "return bound.archived && isEmpty && false ?",
    tests: ["test/engine/state/ArchiveBinding.test.ts"]
  },
  {
    name: "what was acknowledged to nobody stays",
    file: "src/wal/LogFile.ts",
    find: "    if (resume !== undefined) this.forgetBehind(resume.committed)\n",
    replace: "",
    tests: ["test/wal/LogRestart.test.ts"]
  },
  {
    name: "the log's -wal file is never folded in while it is used",
    file: "src/wal/LogDatabase.ts",
    find: "if (unfolded < this.foldAt) return",
    replace: "if (unfolded < Number.MAX_VALUE) return",
    tests: ["test/wal/SqliteLog.test.ts"]
  },
  {
    name: "writes go into a removed log",
    file: "src/wal/LogDatabase.ts",
    find: "    if (problem !== undefined) throw new Error(problem)\n",
    replace: "",
    tests: ["test/wal/LogRestart.test.ts"]
  },
  {
    name: "release is noted before it is durable",
    file: "src/wal/LogService.ts",
    find: "    const upTo = wanted\n",
    replace: "    const upTo = wanted\n    group.noteReleased(upTo, { items: 0, bytes: 0 })\n",
    tests: ["test/wal/LogRestart.test.ts"]
  },
  {
    name: "the gate stays open while the log fails",
    file: "src/engine/write/WriteGate.ts",
    find: "  if (core.degradations.logRefusal !== undefined) return core.degradations.logRefusal\n",
    replace: "",
    tests: ["test/engine/background/LogProbe.test.ts"]
  },
  {
    name: "a failed release fails the flush",
    file: "src/engine/flush/Flusher.ts",
    find: "(error) => Effect.sync(() => core.degradations.logRefuses(error))",
    replace: "(error) => Effect.die(error)",
    tests: ["test/engine/background/LogProbe.test.ts"]
  },
  {
    name: "a pending write does not hear of a letter that has overtaken it",
    file: "src/engine/flush/CommitOutcome.ts",
    find: "    if (settled === undefined) core.versions.takenUnseen(entry.record)\n",
    replace: "",
    tests: ["test/engine/query/DeadLetters.test.ts"]
  },
  {
    name: "a letter is put back although the deletion that it misses may be forgotten",
    file: "src/engine/query/DeadLetters.ts",
    find: "const current = letters.filter(({ record }) => !isExpired(core, record))",
    replace: "const current = letters",
    tests: ["test/engine/query/DeadLetters.test.ts"]
  },

  {
    name: "letters do not count towards the log's bounds",
    file: "src/wal/GroupCommit.ts",
    find: "const heldItems = this.items + letters.items",
    replace: "const heldItems = this.items",
    tests: ["test/wal/WriteAheadLog.test.ts"]
  },
  {
    name: "bytes of letters do not count towards the log's bounds",
    file: "src/wal/GroupCommit.ts",
    find: "const heldBytes = this.bytes + letters.bytes",
    replace: "const heldBytes = this.bytes",
    tests: ["test/wal/WriteAheadLog.test.ts"]
  },
  {
    name: "letters do not press on writers",
    file: "src/engine/state/EngineState.ts",
    find: "      (items + letters) / maxItems,\n      (bytes + letterBytes) / maxBytes,\n",
    replace: "      items / maxItems,\n      bytes / maxBytes,\n",
    tests: ["test/engine/query/DeadLetters.test.ts"]
  },
  {
    name: "the checksum of a page of the log is not checked",
    file: "src/wal/LogFile.ts",
    find: "        this.assertSound(row, start, end)\n",
    replace: "",
    tests: ["test/wal/LogFile.test.ts"]
  },
  {
    name: "the checksum of single entries is not checked",
    file: "src/wal/LogFile.ts",
    find: "        this.assertSound(row, from, from + items)\n",
    replace: "",
    tests: ["test/wal/LogFile.test.ts"]
  },
  {
    name: "a new folder is not synced",
    file: "src/shared/files/Directory.ts",
    find: "  syncDirectory(dirname(path))",
    replace: "",
    tests: ["test/shared/files/DirectorySync.test.ts"]
  },
  {
    name: "the rights of existing files stay",
    file: "src/shared/files/PrivateFiles.ts",
    find: "    chmodSync(path, stat.mode & 0o700)\n",
    replace: "",
    tests: ["test/wal/LogFile.test.ts"]
  },
  {
    name: "an item that never fits gets a retry hint",
    file: "src/engine/write/WriteValidation.ts",
    find: "if (bytes + mostOverhead <= core.logMaxBytes) return undefined",
    replace: "return undefined",
    tests: ["test/engine/write/Pressure.test.ts"]
  },
  {
    name: "a removed archive file is not noticed",
    file: "src/archive/sqlite/SqliteFile.ts",
    find: "    if (lost !== undefined) throw new Error(lost)\n",
    replace: "",
    tests: ["test/archive/sqlite/SqliteFailures.test.ts"]
  },
  {
    name: "embedded: another node's lease is not looked for",
    file: "src/archive/sqlite/SqliteCommit.ts",
    find: "      if (heldByAnother.get(node ?? null) !== undefined) return undefined\n",
    replace: "",
    tests: ["test/archive/sqlite/SqliteArchive.test.ts"]
  },
  {
    name: "embedded: what a refused commit has written stays in its transaction",
    file: "src/archive/sqlite/SqliteFile.ts",
    find: "    } finally {\n      rollBack(database)\n    }",
    replace: "    } finally {\n      pause.fill(0)\n    }",
    tests: ["test/archive/sqlite/SqliteFailures.test.ts", "test/archive/sqlite/SqliteArchive.test.ts"]
  },
  {
    name: "embedded: no commit waits for the -wal file to be folded in",
    file: "src/archive/sqlite/Checkpoints.ts",
    find: "if (this.state.pages < this.most ||",
    replace: "if (this.state.pages < Number.MAX_VALUE ||",
    tests: ["test/archive/sqlite/Checkpoints.test.ts"]
  },
  {
    name: "embedded: what was under way when a commit began to wait counts as the whole file",
    file: "src/archive/sqlite/Checkpoints.ts",
    find: "return Effect.zipRight(Effect.zipRight(this.ended, whole), this.news)",
    replace: "return Effect.zipRight(this.folding ? this.ended : whole, this.news)",
    tests: ["test/archive/sqlite/Checkpoints.test.ts"]
  },
  {
    name: "a thread that cannot be started is thrown at whoever needed it",
    file: "src/shared/WorkerChannel.ts",
    find: "      // The system has no thread left, or the package's files are gone.\n",
    replace: "      if (error instanceof Error) throw error\n",
    tests: ["test/shared/WorkerChannel.test.ts", "test/archive/sqlite/SqliteFailures.test.ts"]
  },
  {
    name: "embedded: nobody hears that the -wal file cannot be folded in",
    file: "src/archive/sqlite/Checkpoints.ts",
    find: "if (fails === this.told) return",
    replace: "if (fails === this.told || fails) return",
    tests: ["test/archive/sqlite/Checkpoints.test.ts"]
  },
  {
    name: "embedded: damage found while the -wal file is folded in is kept secret",
    file: "src/archive/sqlite/SqliteWorkerClient.ts",
    find: '      this.failed("Failed to fold in the -wal file", failure)\n',
    replace: "",
    tests: ["test/archive/sqlite/Checkpoints.test.ts"]
  },
  {
    name: "embedded: a flush's checkpoint does not wait for the archive's own",
    file: "src/archive/sqlite/SqliteArchive.ts",
    find: "        client.folded,\n",
    replace: "        Effect.void,\n",
    tests: ["test/archive/sqlite/Checkpoints.test.ts"]
  },
  {
    name: "embedded: an update is written over another row",
    file: "src/archive/sqlite/SqliteCommit.ts",
    find: "heads.set(id, { id, rowid,",
    replace: "heads.set(id, { id, rowid: rowid + 1,",
    tests: ["test/archive/sqlite/SqliteArchive.test.ts"]
  },
  {
    name: "embedded: a commit does not wait for a transaction of several messages",
    file: "src/archive/sqlite/SqliteWorkerClient.ts",
    find: "yield* turn.withPermits(1)(",
    replace: "yield* turn.withPermits(0)(",
    tests: ["test/archive/sqlite/SqliteFailures.test.ts"]
  },
  {
    name: "a RangeError is a network error",
    file: "src/archive/ArchiveErrors.ts",
    find: 'if (code === undefined || (invalidValue && code.startsWith("ERR_")))',
    replace: "if (code === undefined)",
    tests: ["test/archive/ArchiveErrors.test.ts"]
  },
  {
    name: "no checkpoint after a flush",
    file: "src/engine/AdminOperations.ts",
    find: 'Effect.tap(barrier.all("flush"), () => checkpoint(core))',
    replace: 'barrier.all("flush")',
    tests: ["test/engine/background/LogProbe.test.ts"]
  },
  {
    name: "ready for writes while the log takes none",
    file: "src/http/handlers/HealthHandlers.ts",
    find: 'return answer(snapshot, acceptsWrites, "LogUnavailable", log.reason)',
    replace: 'return answer(snapshot, !readOnly, "LogUnavailable", log.reason)',
    tests: ["test/http/Admin.test.ts"]
  },
  {
    name: "trust ignores doubts raised during the proof",
    file: "src/engine/state/CacheTrust.ts",
    find: "this.doubts !== doubtsBefore || ",
    replace: "",
    tests: ["test/engine/state/CacheTrust.test.ts"]
  },
  {
    name: "a proof of another generation counts",
    file: "src/engine/state/CacheTrust.ts",
    find: "this.doubts !== doubtsBefore || this.service.status().generation !== generation",
    replace: "this.doubts !== doubtsBefore",
    tests: ["test/engine/state/CacheTrust.test.ts"]
  },
  {
    name: "verification ignores the traceparent",
    file: "src/reconcile/ValueCheck.ts",
    find: " &&\n  row.traceparent === held.traceparent",
    replace: "",
    tests: ["test/reconcile/Verify.test.ts"]
  },
  {
    name: "what is on its way counts as a difference",
    file: "src/reconcile/Roots.ts",
    find: "return { ...second, equal: yield* nothingLasts(tiers, budget) }",
    replace: "return second",
    tests: ["test/reconcile/Roots.test.ts"]
  },
  {
    name: "under load nothing is a difference",
    file: "src/reconcile/Roots.ts",
    find: "if (last === undefined || last.length > 0) return false",
    replace: "if (last === undefined) return false",
    tests: ["test/reconcile/Roots.test.ts"]
  },
  {
    name: "a resync does not count contents",
    file: "src/reconcile/Roots.ts",
    find: "bytes += size",
    replace: "bytes += 0 * size",
    tests: ["test/reconcile/Roots.test.ts"]
  },
  {
    name: "leaves cost no budget",
    file: "src/reconcile/TreeCheck.ts",
    find: "budget.spend(looked)",
    replace: "budget.spend(0 * looked)",
    tests: ["test/reconcile/Roots.test.ts"]
  },
  {
    name: "the shorter secret is replaced first",
    file: "src/shared/Redaction.ts",
    find: ".sort((a, b) => b.length - a.length)",
    replace: ".sort((a, b) => a.length - b.length)",
    tests: ["test/shared/Redaction.test.ts"]
  },
  {
    name: "MOVED does not end a connection",
    file: "src/cache/RedisFailure.ts",
    find: "notHere.test(problem)",
    replace: "problem === notHere.source",
    tests: ["test/integration/cache/RedisFailover.test.ts"]
  },
  {
    name: "other data behind the connection is not noticed",
    file: "src/cache/RedisConnection.ts",
    find: "seen.epoch !== expected.epoch || seen.server !== expected.server",
    replace: "false",
    tests: ["test/integration/cache/RedisFailover.test.ts"]
  },
  {
    name: "a refused database number is database 0",
    file: "src/cache/RedisSource.ts",
    find: "if (target.database === 0) return",
    replace: "if (target.database >= 0) return",
    tests: ["test/integration/cache/RedisEnvironment.test.ts"]
  },
  {
    name: "a broken-off rebuild is not ended",
    file: "src/reconcile/Resync.ts",
    find: "yield* cache.tidy",
    replace: "yield* Effect.void",
    tests: ["test/integration/cache/RedisCache.test.ts"]
  },
  {
    name: "a cache that nobody has claimed is ours",
    file: "src/engine/state/CacheTrust.ts",
    find: 'return "unknown"',
    replace: 'return "ours"',
    tests: ["test/engine/state/CacheOwner.test.ts"]
  },
  {
    name: "a claim lasts for ever",
    file: "src/engine/state/CacheTrust.ts",
    find: " || elapsedMs() >= claim.untilMs",
    replace: "",
    tests: ["test/engine/state/CacheTrust.test.ts"]
  },
  {
    name: "a claim holds on every connection",
    file: "src/engine/state/CacheTrust.ts",
    find: "claim?.generation !== this.service.status().generation || ",
    replace: "claim === undefined || ",
    tests: ["test/engine/state/CacheTrust.test.ts"]
  },
  {
    name: "a cache that is claimed again is believed as before",
    file: "src/engine/state/CacheTrust.ts",
    find: 'if (this.owner !== "ours") this.distrust(this.doubt ?? notCompared)',
    replace: "",
    tests: ["test/engine/state/CacheTrust.test.ts"]
  },
  {
    name: "the cache waits for its interval when SQL has come",
    file: "src/engine/background/BackgroundTasks.ts",
    find: "Effect.zipRight(Effect.ignore(runtime.cacheResync.prove))",
    replace: "Effect.asVoid",
    tests: ["test/engine/state/CacheOwner.test.ts"]
  },
  {
    name: "whose cache it is does not matter",
    file: "src/engine/background/CacheResync.ts",
    find: "const isOurs = owner === lineage",
    replace: "const isOurs = owner.length > 0",
    tests: ["test/integration/engine/SharedRedis.test.ts"]
  },
  {
    name: "a stalled answer has no bound",
    file: "src/archive/mysql/MysqlConnection.ts",
    find: "const timer = setTimeout(() => this.lose(late()), limitMs)",
    replace: "const timer = setTimeout(() => undefined, limitMs)",
    tests: ["test/integration/archive/MysqlStalls.test.ts"]
  },
  {
    name: "an update expects nothing of its row but the version",
    file: "src/archive/mysql/MysqlDialect.ts",
    find: '.join(" AND ")',
    replace: "[0]",
    tests: ["test/integration/archive/MysqlGuesses.test.ts"]
  },
  {
    name: "a row that has gone counts as updated",
    file: "src/archive/mysql/MysqlDialect.ts",
    find: "ROW_COUNT() <> ",
    replace: "ROW_COUNT() > ",
    tests: ["test/integration/archive/MysqlGuesses.test.ts"]
  },
  {
    name: "a row that was not there replaces one that is",
    file: "src/archive/mysql/MysqlDialect.ts",
    find: 'insert: { ...into(itemColumns), tail: "" }',
    replace: 'insert: { ...into(itemColumns), tail: " ON DUPLICATE KEY UPDATE content = VALUES(content)" }',
    tests: ["test/integration/archive/MysqlGuesses.test.ts"]
  },
  {
    name: "a wrong guess is made again",
    file: "src/archive/sql/SqlArchive.ts",
    find: "      guess = noGuess\n",
    replace: "      guess = guess\n",
    tests: ["test/integration/archive/MysqlGuesses.test.ts"]
  },
  {
    name: "a trigger's error counts as a wrong guess for ever",
    file: "src/archive/sql/SqlCommit.ts",
    find: 'refusal === "stale" && guessed',
    replace: 'refusal === "stale"',
    tests: ["test/integration/archive/MysqlGuesses.test.ts"]
  },
  {
    name: "a trigger's error counts as another sole writer",
    file: "src/archive/sql/SqlCommit.ts",
    find: "held ? heldByAnother() : error",
    replace: "heldByAnother()",
    tests: ["test/integration/archive/MysqlGuesses.test.ts"]
  },
  {
    name: "a failed commit forgets every head",
    file: "src/archive/sql/SqlArchive.ts",
    find: "heads.forget(records)",
    replace: "heads.clear()",
    tests: ["test/integration/archive/MysqlGuesses.test.ts"]
  },
  {
    name: "what does not win is judged by a guess",
    file: "src/archive/KnownHeads.ts",
    find: "return version > this.numbers[place * 2]! ?",
    replace: "return version > 0 ?",
    tests: ["test/integration/archive/MysqlGuesses.test.ts"]
  },
  {
    name: "a commit does not look for another sole writer",
    file: "src/archive/sql/SqlCommit.ts",
    find: "    yield refuseOthers(session, statements, node)\n",
    replace: "",
    tests: ["test/integration/archive/MysqlGuesses.test.ts"]
  },
  {
    name: "the tree's top is locked before the rows below it",
    file: "src/archive/sql/SqlTree.ts",
    find: 'a.path === "" ? 1 : b.path === "" ? -1',
    replace: 'a.path === "" ? -1 : b.path === "" ? 1',
    tests: ["test/integration/archive/MysqlGuesses.test.ts"]
  },
  {
    name: "a rebuild lets commits in",
    file: "src/archive/sql/SqlTree.ts",
    find: "if (commits !== undefined) yield*",
    replace: "if (commits === undefined) yield*",
    tests: ["test/integration/archive/MysqlGuesses.test.ts"]
  },
  {
    name: "the archive in memory believes a guess",
    file: "src/archive/memory/MemoryArchive.ts",
    find: "&& [...before.values()].every(holds) ? plan",
    replace: "&& before.size >= 0 ? plan",
    tests: ["test/simulation/Nodes.test.ts"]
  },
  {
    name: "rows are decided by without a lock",
    file: "src/archive/mysql/MysqlDialect.ts",
    find: 'forUpdate: " FOR UPDATE",',
    replace: 'forUpdate: " ",',
    tests: ["test/integration/archive/MysqlLocks.test.ts"]
  },
  {
    name: "the application gets its sessions back with the archive's settings",
    file: "src/archive/mysql/MysqlSharedClient.ts",
    find: 'Effect.zipRight(ask("ROLLBACK"), ask(',
    replace: 'Effect.zipLeft(ask("ROLLBACK"), Effect.succeed(',
    tests: ["test/integration/archive/MysqlShared.test.ts"]
  },
  {
    name: "a call joins the transaction of its caller",
    file: "src/archive/sql/SqlSession.ts",
    find: "Context.omit(SqlClient.TransactionConnection)(context) as Context.Context<R>",
    replace: "context",
    tests: ["test/integration/archive/MysqlShared.test.ts"]
  },
  {
    name: "a read-only server is served from",
    file: "src/archive/mysql/MysqlPool.ts",
    find: 'if (readOnly === "0" || readOnly === "OFF") return Effect.void',
    replace: 'if (readOnly !== "") return Effect.void',
    tests: ["test/integration/archive/MysqlSessions.test.ts"]
  },
  {
    name: "a session that could not be set passes",
    file: "src/archive/mysql/MysqlSession.ts",
    find: "if (still.length > 0) return yield* unfit(",
    replace: "if (still.length > 99) return yield* unfit(",
    tests: ["test/integration/archive/MysqlSessions.test.ts"]
  },
  {
    name: "a dead machine's session lives on",
    file: "src/archive/mysql/MysqlSession.ts",
    find: '    whole("wait_timeout", idleSeconds(options)),\n',
    replace: "",
    tests: ["test/integration/archive/MysqlLocks.test.ts"]
  },
  {
    name: "an overdue batch is tried unchanged",
    file: "src/engine/flush/Flusher.ts",
    find: '      if (error._tag === "ArchiveError" && error.overdue === true) this.share.overdue()\n',
    replace: "",
    tests: ["test/engine/flush/Flusher.test.ts"]
  },
  {
    name: "another content of a stored version replaces it",
    file: "src/archive/CommitPlan.ts",
    find: "if (head !== undefined && compareVersions(record, head) <= 0) {",
    replace: "if (head && compareVersions(record, head) <= 0 && record.contentHash <= head.contentHash) {",
    tests: ["test/archive/memory/MemoryArchive.test.ts"]
  },
  {
    name: "a retried letter counts as a lost write",
    file: "src/engine/query/DeadLetters.ts",
    find: "core.letters.add(first, records.length)",
    replace: "core.letters.has(first)",
    tests: ["test/engine/write/Repeats.test.ts"]
  },
  {
    name: "a version counts as a repeat whatever it holds",
    file: "src/archive/CommitPlan.ts",
    find: "if (sameVersion(submitted, row)) repeated.push(row)",
    replace: "if (submitted.version === row.version) repeated.push(row)",
    tests: ["test/archive/sqlite/SqliteArchive.test.ts"]
  },
  {
    name: "the cache takes another record of a version it has",
    file: "src/cache/PutDecision.ts",
    find: 'if (other && inTree && mode !== "repair") return "kept"',
    replace: "",
    tests: ["test/cache/InProcessCache.test.ts"]
  },
  {
    name: "a write to Redis that met something else than it assumed is made all the same",
    file: "src/cache/WriteScripts.ts",
    find: "if #held > 0 then return held end",
    replace: "",
    tests: ["test/integration/cache/RedisCache.test.ts"]
  },
  {
    name: "what was decided for one tree is written into another",
    file: "src/cache/WriteScripts.ts",
    find: "if e ~= ARGV[1] then return e end\nuse(e)",
    replace: "use(e)",
    tests: ["test/integration/cache/RedisCache.test.ts"]
  },
  {
    name: "the cache's tree takes over a commit's change although the cache held something else",
    file: "src/cache/RedisWrites.ts",
    find: "right ? delta : undefined",
    replace: "delta",
    tests: ["test/integration/cache/RedisCache.test.ts"]
  },
  {
    name: "the cache is told of a commit's change beside records that it did not write",
    file: "src/engine/cache/CacheWriter.ts",
    find: "applied === records.length ? { change } : undefined",
    replace: "{ change }",
    tests: ["test/engine/cache/CacheWriter.test.ts"]
  },
  {
    name: "a damaged head of an item in Redis is believed",
    file: "src/cache/ItemValue.ts",
    find: "    checksum(id, value, 0, end) !== value.readUInt32BE(0) ||\n",
    replace: "",
    tests: ["test/cache/ItemValue.test.ts"]
  },
  {
    name: "another item's value in Redis is believed",
    file: "src/cache/ItemValue.ts",
    find: "  for (let i = 0; i < id.length; i++) sum = mixed(sum, id.charCodeAt(i))\n",
    replace: "",
    tests: ["test/cache/ItemValue.test.ts"]
  },
  {
    name: "the tree of an earlier format of the keys is believed",
    file: "src/cache/LuaScript.ts",
    find: "type(e) == 'string' and string.match(e,",
    replace: "type(e) == 'string' and string.match('2' .. string.sub(e, -8),",
    tests: ["test/integration/cache/RedisCache.test.ts"]
  },
  {
    name: "what an earlier format of the keys has left behind stays",
    file: "src/cache/WriteScripts.ts",
    find: "if foreign and not written.err then leftBehind() end\n",
    replace: "",
    tests: ["test/integration/cache/RedisCache.test.ts"]
  },
  {
    name: "a rebuild counts items that expire",
    file: "src/cache/RedisWrites.ts",
    find: "else if (head.epoch !== 0 && !changes.counts(held))",
    replace: "else if (!changes.counts(held))",
    tests: ["test/integration/cache/RedisCache.test.ts"]
  },
  {
    name: "an equal version with another content is no conflict",
    file: "src/engine/write/WriteValidation.ts",
    find: "own <= known.version && !sameVersion(",
    replace: "own < known.version && !sameVersion(",
    tests: ["test/engine/write/Repeats.test.ts"]
  },
  {
    name: "an absurd version stops the clock",
    file: "src/engine/state/HybridLogicalClock.ts",
    find: "const upTo = Math.min(version, maxObservedVersion)",
    replace: "const upTo = version > maxObservedVersion ? 0 : version",
    tests: ["test/engine/state/HybridLogicalClock.test.ts"]
  },
  {
    name: "the clock does not observe the archive at the heartbeat",
    file: "src/engine/background/FilterMaintenance.ts",
    find: "        core.clock.observe(topVersion)\n",
    replace: "        void topVersion\n",
    tests: ["test/engine/write/WriteOperations.test.ts"]
  },
  {
    name: "the clock does not observe commits",
    file: "src/engine/flush/CommitOutcome.ts",
    find: "core.clock.observe(result.topVersion)",
    replace: "void result.topVersion",
    tests: ["test/engine/write/WriteOperations.test.ts"]
  },
  {
    name: "an own version is compared with memory alone",
    file: "src/engine/write/VersionComparison.ts",
    find: " || !core.writer.isCertain()",
    replace: "",
    tests: ["test/engine/write/Compared.test.ts"]
  },
  {
    name: "a compare-and-set that lost is written once more",
    file: "src/engine/write/LogAppend.ts",
    find: "write.expected !== undefined ||",
    replace: "",
    tests: ["test/engine/write/Compared.test.ts"]
  },
  {
    name: "a write that lost is repeated over a later one",
    file: "src/engine/write/LogAppend.ts",
    find: "followed ||",
    replace: "",
    tests: ["test/engine/write/Compared.test.ts"]
  },
  {
    name: "a clock before 1970 is taken",
    file: "src/engine/write/WriteGate.ts",
    find: "nowMs >= 0 && nowMs <= maxWallMs",
    replace: "nowMs >= -1e15",
    tests: ["test/engine/write/WriteOperations.test.ts"]
  },
  {
    name: "a compare-and-set is refused because of a write that may not reach the log",
    file: "src/engine/write/SingleWrites.ts",
    find: "const isOpen = meets(shown, expected) || (shown",
    replace: "const isOpen = meets(current, expected) || (shown",
    tests: ["test/engine/write/CompareAndSet.test.ts"]
  },
  {
    name: "a compare-and-set takes for absent what memory does not hold while a write is on its way",
    file: "src/engine/write/SingleWrites.ts",
    find: " || (shown === undefined && answer === undefined)",
    replace: "",
    tests: ["test/engine/write/CompareAndSet.test.ts"]
  },
  {
    name: "a compare-and-set forgets what the archive has said because a write is on its way since",
    file: "src/engine/write/SingleWrites.ts",
    find: "const shown = newestOf(answer?.head, ",
    replace: "const shown = newestOf(isNeeded ? answer?.head : undefined, ",
    tests: ["test/engine/write/CompareAndSet.test.ts"]
  },
  {
    name: "an own version is refused because of a newer one that may not reach the log",
    file: "src/engine/write/WriteValidation.ts",
    find: "return current > submitted || core.inFlight.newest(id) === undefined",
    replace: "return current > 0 || submitted > 0",
    tests: ["test/engine/write/CompareAndSet.test.ts"]
  },
  {
    name: "what a batch has put off is not written again",
    file: "src/engine/write/BatchWrites.ts",
    find: "    if (places.length === 0) return Effect.void\n",
    replace: "    if (places.length >= 0) return Effect.void\n",
    tests: ["test/engine/write/CompareAndSet.test.ts"]
  },
  {
    name: "beside another node, a reader joins a fetch that began before it",
    file: "src/engine/read/SharedMisses.ts",
    find: "(this.core.writer.isCertain() ? this.underWay.get(id) : undefined)",
    replace: "this.underWay.get(id)",
    tests: ["test/engine/write/Decisions.test.ts"]
  },
  {
    name: "an older write comes back over a later one that memory has evicted",
    file: "src/engine/state/KnownVersions.ts",
    find: "    if (!sameVersion(newest, record)) return\n",
    replace: "",
    tests: ["test/engine/read/PointReads.test.ts"]
  },
  {
    name: "an option may hold a lone surrogate",
    file: "src/config/OptionKinds.ts",
    find: "text.isWellFormed() ? rule.problem(text) : illFormed",
    replace: "rule.problem(text)",
    tests: ["test/EngineConfig.test.ts"]
  },
  {
    name: "an admin body may have a member twice",
    file: "src/http/middleware/RequestBody.ts",
    find: "const twice = repeatedName(Buffer.from(text))",
    replace: "const twice = repeatedName(Buffer.from('{}'))",
    tests: ["test/http/Admin.test.ts"]
  },
  {
    name: "a part is stored as the whole",
    file: "src/http/middleware/RequestBody.ts",
    find: "if (range !== undefined) {",
    replace: "if (range === '') {",
    tests: ["test/http/Items.test.ts"]
  },
  {
    name: "tls may be there twice",
    file: "src/config/MysqlUrl.ts",
    find: 'url.searchParams.getAll("tls").length > 1',
    replace: "false",
    tests: ["test/EngineConfig.test.ts"]
  },
  {
    name: "the server listens to others without a token",
    file: "src/http/node/NodeServer.ts",
    find: "    yield* checkExposure(wanted)\n",
    replace: "",
    tests: ["test/cli/doctor/Doctor.test.ts"]
  },
  {
    name: "files: the log does not notice that its file was overwritten",
    file: "src/wal/LogDatabase.ts",
    find: "    if (files.wasWritten()) throw",
    replace: "    if (files === undefined) throw",
    tests: ["test/engine/startup/EmbeddedFiles.test.ts"]
  },
  {
    name: "files: damage of the archive is forgotten",
    file: "src/archive/sqlite/SqliteWorkerClient.ts",
    find: "      if (this.damaged !== undefined) return",
    replace: "      if (this.damaged === null) return",
    tests: ["test/engine/startup/EmbeddedFiles.test.ts"]
  },
  {
    name: "files: a start waits for an archive that no waiting helps",
    file: "src/archive/ArchiveErrors.ts",
    find: "return passingSqlite.has(primary)",
    replace: "return primary !== undefined",
    tests: ["test/engine/startup/EmbeddedFiles.test.ts"]
  },
  {
    name: "files: a start that did nothing reports a checkpoint",
    file: "src/engine/shutdown/Shutdown.ts",
    find: "(closed || !opened) && known",
    replace: "closed || !opened",
    tests: ["test/engine/shutdown/Shutdown.test.ts"]
  },
  {
    name: "a caller's buffer is kept instead of its bytes",
    file: "src/engine/write/WriteValidation.ts",
    find: "content instanceof Uint8Array && content.byteLength > 0 ?",
    replace: "content instanceof Uint8Array && content.byteLength < 0 ?",
    tests: ["test/engine/write/Submitted.test.ts"]
  },
  {
    name: "files: damage of the log is forgotten",
    file: "src/shared/WorkerServer.ts",
    find: "        if (failure.damaged === true) broken =",
    replace: "        if (failure === null) broken =",
    tests: ["test/engine/startup/EmbeddedFiles.test.ts"]
  },
  {
    name: "files: a link to the log's folder is followed once only",
    file: "src/wal/LogFileOpen.ts",
    find: "new OpenedFiles(given)",
    replace: "new OpenedFiles(path)",
    tests: ["test/engine/startup/EmbeddedFiles.test.ts"]
  },
  {
    name: "a group's callbacks take as long as they like",
    file: "src/wal/GroupCommit.ts",
    find: " && last.items < maxGroupItems",
    replace: "",
    tests: ["test/wal/SqliteLog.test.ts"]
  },
  {
    name: "a large content is copied in one turn",
    file: "src/shared/Pieces.ts",
    find: "        if (left > 0) continue\n        yield* yieldToEventLoop\n",
    replace: "",
    tests: ["test/shared/Pieces.test.ts"]
  },
  {
    name: "a large content is copied into the log in one turn",
    file: "src/wal/SegmentWriter.ts",
    find: "record.content.length <= pieceBytes",
    replace: "record.content.length >= 0",
    tests: ["test/wal/SegmentCodec.test.ts"]
  },
  {
    name: "a listing copies large contents",
    file: "src/shared/ndjson/ObjectLine.ts",
    find: "    if (part.length >= bytesPerPiece && bytes > 0) yield taken()\n",
    replace: "",
    tests: ["test/http/handlers/Scan.test.ts"]
  },
  {
    name: "the writers' register lets everybody commit",
    file: "src/archive/WriterLease.ts",
    find: "every((row) => row.token === undefined || row.node === node)",
    replace: "every((row) => row.token === undefined || row.node !== '')",
    tests: ["test/simulation/Nodes.test.ts"]
  },
  {
    name: "http: a route that asks for the token lets everybody in",
    file: "src/http/middleware/RequestMiddleware.ts",
    find: "return refusal === undefined ? Effect.void : Effect.fail(refusal)",
    replace: "return refusal === undefined ? Effect.void : Effect.void",
    tests: ["test/http/middleware/Authorization.test.ts"]
  },
  {
    name: "http: what no route serves needs no token",
    file: "src/http/middleware/RequestMiddleware.ts",
    find: "if (Either.isLeft(found) || found.right.secured !== true) {",
    replace: "if (Either.isRight(found) && found.right.secured !== true) {",
    tests: ["test/http/middleware/Authorization.test.ts"]
  },
  {
    name: "http: 05 is a version",
    file: "src/http/api/Wire.ts",
    find: "/^(0|[1-9][0-9]{0,15})$/",
    replace: "/^[0-9]{1,16}$/",
    tests: ["test/http/Items.test.ts"]
  },
  {
    name: "http: a body that was refused is a defect",
    file: "src/http/middleware/RequestMiddleware.ts",
    find: "if (error instanceof BodyRefused) return error.failure",
    replace: "",
    tests: ["test/http/Admin.test.ts"]
  },
  {
    name: "filter: a root from before a commit of unknown outcome stays the one last seen",
    file: "src/filter/FilterTrust.ts",
    find: "    this.uncertain = true\n    this.seen = undefined\n",
    replace: "    this.uncertain = true\n",
    tests: ["test/filter/ExistenceFilterTrust.test.ts"]
  },
  {
    name: "filter: a root from before the tree was rebuilt stays the one last seen",
    file: "src/filter/FilterTrust.ts",
    find: "    this.serial++\n    this.seen = undefined\n    if (this.covers",
    replace: "    this.serial++\n    if (this.covers",
    tests: ["test/filter/ExistenceFilterTrust.test.ts"]
  },
  {
    name: "filter: an answer that crossed a rebuild of the tree is believed",
    file: "src/filter/FilterTrust.ts",
    find: "    this.serial++\n    this.seen = undefined\n    if (this.covers",
    replace: "    this.seen = undefined\n    if (this.covers",
    tests: ["test/filter/ExistenceFilterTrust.test.ts"]
  },
  {
    name: "memory: what is as large as the bound is not kept",
    file: "src/memory/MemoryCache.ts",
    find: "if (bytes > this.#maxBytes) return true",
    replace: "if (bytes >= this.#maxBytes) return true",
    tests: ["test/memory/MemoryCache.test.ts"]
  }
]
