/**
 * The write-ahead log in a SQLite file, in one worker thread.
 *
 * @since 0.1.0
 */

import * as path from "node:path"
import { type Context, Effect, Either, type Layer, Option, type Scope } from "effect"
import { LogOpenError, LogUnavailable } from "../EngineError.js"
import { join } from "../shared/Pieces.js"
import type { FilterSnapshots } from "./FilterSnapshots.js"
import { GroupCommit } from "./GroupCommit.js"
import { LogLink } from "./LogLink.js"
import type { LogBounds } from "./LogOptions.js"
import { defaultMaxBytes, defaultMaxItems, layerBoth, logRetryAfterMs } from "./LogOptions.js"
import type { LogOperation, LogOperations, SegmentSlice } from "./LogProtocol.js"
import { decode } from "./SegmentCodec.js"
import { encodeOne } from "./SegmentWriter.js"
import type { ArchiveBinding, LogEntry, OpenLog, WriteAheadLog } from "./WriteAheadLog.js"

/**
 * Where the log is kept, and how much it takes.
 *
 * @since 0.1.0
 * @category options
 */
export interface SqliteLogOptions extends LogBounds {
  /** The file. It and its directory are created when they are not there; `-wal` and `-lock` files stand beside it. */
  readonly path: string
}

/**
 * A log, the snapshots in the same file, and the worker behind both.
 *
 * @since 0.1.0
 * @category models
 */
export interface SqliteLog {
  readonly log: OpenLog
  readonly snapshots: Context.Tag.Service<FilterSnapshots>
  readonly link: LogLink
}

/** Parts a filter snapshot is written in: commits get their turn between two of them. */
const snapshotPartBytes = 1024 * 1024

const maxProbeBytes = 1024 * 1024

type Ask = <K extends LogOperation>(
  what: string,
  operation: K,
  ...parameters: Parameters<LogOperations[K]>
) => Effect.Effect<ReturnType<LogOperations[K]>, LogUnavailable>

/**
 * Opens the log and its snapshots. Everything the file holds is verified first; a file that lost or changed an
 * acknowledged write fails with `LogOpenError` of kind `damaged`, one that another engine has open with `in-use`.
 * Closing the scope writes what was appended, closes the file and ends the thread.
 *
 * @since 0.1.0
 * @category constructors
 */
export const open = (options: SqliteLogOptions): Effect.Effect<SqliteLog, LogOpenError, Scope.Scope> =>
  Effect.gen(function* () {
    if (options.path === "" || options.path.includes("\0")) {
      const problem = "a log needs the path of a file"
      return yield* new LogOpenError({ path: options.path, kind: "cannot-open", problem })
    }
    const file = path.resolve(options.path)
    const { file: opened, link } = yield* LogLink.open(file)
    const group = new GroupCommit(
      link,
      file,
      opened,
      options.maxItems ?? defaultMaxItems,
      options.maxBytes ?? defaultMaxBytes
    )
    let closed = false
    // Runs before the link's own finalizer: what was appended is sent ahead of the request to close.
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        closed = true
        group.close()
      })
    )
    const unavailable = (operation: string, problem: string) =>
      new LogUnavailable({ path: file, operation, problem, retryAfterMs: logRetryAfterMs })
    const ask: Ask = (what, operation, ...parameters) =>
      Effect.async((resume) => {
        if (closed) return resume(Effect.fail(unavailable(what, "the log is closed")))
        link.request(operation, parameters, (outcome) =>
          resume(Either.mapLeft(outcome, (problem) => unavailable(what, problem)))
        )
      })
    const held = { binding: opened.binding }
    yield* Effect.forkScoped(
      Effect.interruptible(
        link.keepOpen(
          () => ({ identity: opened.identity, committed: group.committed }),
          (again) => {
            group.resumed(again)
            held.binding = again.binding
          }
        )
      )
    )
    return {
      link,
      log: makeLog(file, group, ask, opened.identity, held),
      snapshots: makeSnapshots(ask)
    }
  })

/** What the file holds beside its entries. */
interface Held {
  binding: ArchiveBinding | undefined
}

const makeLog = (file: string, group: GroupCommit, ask: Ask, identity: string, held: Held): OpenLog => {
  const unsafeAppend: OpenLog["unsafeAppend"] = (records, done, moved) => group.append(records, done, moved)
  return {
    path: file,
    identity,
    get maxVersion() {
      return group.maxVersion
    },
    usage: () => group.usage(),
    unsafeAppend,
    append: (records) => Effect.async((resume) => unsafeAppend(records, resume)),
    read: ({ after, maxBytes, maxItems }) =>
      Effect.map(ask("read", "read", after, maxItems, maxBytes), entriesOf),
    readAt: (sequences) =>
      Effect.suspend(() => {
        const wanted = [...new Set(sequences)]
          .filter((sequence) => sequence > group.released)
          .sort((a, b) => a - b)
        return wanted.length === 0 ? Effect.succeed([]) : Effect.map(ask("read", "readAt", wanted), entriesOf)
      }),
    release: makeRelease(group, ask),
    deadLetters: makeDeadLetters(group, ask),
    binding: () => held.binding,
    bind: (next) =>
      Effect.map(ask("binding to an archive", "bind", next), () => {
        held.binding = next
      }),
    // A small write may find room where the refused one did not.
    probe: Effect.suspend(() => ask("probe", "probe", Math.min(group.refused, maxProbeBytes))),
    shrink: whileMore(ask("shrink", "shrink")),
    checkpoint: ask("checkpoint", "checkpoint")
  }
}

const entriesOf = (slices: ReadonlyArray<SegmentSlice>): ReadonlyArray<LogEntry> =>
  slices.flatMap(({ data, first, from, items, to }) =>
    decode(data, items, from, to).map((record, index) => ({ sequence: first + from + index, record }))
  )

const makeDeadLetters = (group: GroupCommit, ask: Ask): OpenLog["deadLetters"] => ({
  add: (letters) =>
    Effect.suspend(() => {
      const encoded = letters.map(({ record, ...letter }) => ({ ...letter, data: encodeOne(record) }))
      return ask("adding dead letters", "addDeadLetters", encoded)
    }).pipe(Effect.map((added) => group.noteLetters(added))),
  list: ({ after, limit, maxBytes }) =>
    Effect.map(ask("listing dead letters", "listDeadLetters", after, limit, maxBytes), (letters) =>
      letters.map(({ data, ...letter }) => ({ ...letter, record: decode(data, 1)[0]! }))
    ),
  remove: (sequences) =>
    Effect.map(ask("removing dead letters", "removeDeadLetters", sequences), ({ bytes, items }) => {
      group.noteLetters({ items: -items, bytes: -bytes })
      return items
    }),
  count: () => group.usage().letters
})

const whileMore = <E>(step: Effect.Effect<{ readonly more: boolean }, E>): Effect.Effect<void, E> =>
  Effect.asVoid(Effect.repeat(step, { while: ({ more }) => more }))

/** Calls that come while a release is under way share the next one. */
const makeRelease = (group: GroupCommit, ask: Ask): OpenLog["release"] => {
  let wanted = group.released
  const gate = Effect.unsafeMakeSemaphore(1)
  const releaseWanted = Effect.suspend(() => {
    if (wanted <= group.released) return Effect.void
    const upTo = wanted
    const step = Effect.map(ask("release", "release", upTo), (released) => {
      group.noteReleased(upTo, released)
      return released
    })
    return whileMore(step)
  })
  return (upTo) =>
    Effect.suspend(() => {
      const target = Math.min(upTo, group.committed)
      if (target > wanted) wanted = target
      return target <= group.released ? Effect.void : gate.withPermits(1)(releaseWanted)
    })
}

const makeSnapshots = (ask: Ask): Context.Tag.Service<FilterSnapshots> => {
  const alone = Effect.unsafeMakeSemaphore(1).withPermits(1)
  const prune = whileMore(ask("removing old filter snapshots", "pruneSnapshots"))
  return {
    save: Effect.fnUntraced(function* (snapshot) {
      const parts = Math.max(1, Math.ceil(snapshot.length / snapshotPartBytes))
      for (let part = 0; part < parts; part++) {
        const data = snapshot.slice(part * snapshotPartBytes, (part + 1) * snapshotPartBytes)
        yield* ask("saving the filter snapshot", "writeSnapshotPart", part, data)
      }
      yield* ask("saving the filter snapshot", "publishSnapshot", parts)
      yield* prune
    }, alone),
    load: alone(
      Effect.gen(function* () {
        const pieces: Array<Uint8Array> = []
        for (;;) {
          const piece = yield* ask("loading the filter snapshot", "readSnapshotPart", pieces.length)
          if (piece === undefined)
            return pieces.length === 0
              ? Option.none()
              : Option.some(new Uint8Array((yield* join(pieces)).buffer))
          pieces.push(piece)
        }
      })
    )
  }
}

/**
 * The log and the filter's snapshots, in one file behind one worker.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: SqliteLogOptions): Layer.Layer<WriteAheadLog | FilterSnapshots> =>
  layerBoth(options.path, open(options))
