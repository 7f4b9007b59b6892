/**
 * The write-ahead log in a SQLite file, in one worker thread.
 *
 * @since 0.1.0
 */

import * as path from "node:path"
import { type Context, Effect, type Layer, Option, type Scope } from "effect"
import { LogOpenError, LogUnavailable } from "../EngineError.js"
import { type FilterSnapshots, layerBoth } from "./FilterSnapshots.js"
import { GroupCommit } from "./GroupCommit.js"
import type { LogConnection } from "./LogConnection.js"
import { connect } from "./LogConnection.js"
import { LogLink } from "./LogLink.js"
import type { LogBounds } from "./LogOptions.js"
import { defaultMaxBytes, defaultMaxItems, logRetryAfterMs } from "./LogOptions.js"
import type { LogOperation, LogOperations } from "./LogProtocol.js"
import { decode } from "./SegmentCodec.js"
import { encodeOne } from "./SegmentWriter.js"
import type { ArchiveBinding, DeadLetter, LogEntry, OpenLog, WriteAheadLog } from "./WriteAheadLog.js"

/**
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
  readonly connection: LogConnection
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
    const { link, opened } = yield* linkTo(file)
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
          resume(outcome.ok ? Effect.succeed(outcome.value) : Effect.fail(unavailable(what, outcome.problem)))
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
      get connection() {
        return link.current
      },
      log: makeLog(file, group, ask, opened.identity, held),
      snapshots: makeSnapshots(ask)
    }
  })

const linkTo = (file: string) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(restore(connect(file)), ({ connection, file: opened }) =>
      Effect.acquireRelease(
        Effect.sync(() => ({ link: new LogLink(file, connection), opened })),
        ({ link }) => link.close
      )
    )
  )

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
      Effect.map(ask("read", "read", after, maxItems, maxBytes), (slices) => {
        const entries: Array<LogEntry> = []
        for (const { data, first, from, items, to } of slices) {
          let sequence = first + from
          for (const record of decode(data, items, from, to)) entries.push({ sequence: sequence++, record })
        }
        return entries
      }),
    readAt: (sequences) =>
      Effect.suspend(() => {
        const wanted = [...new Set(sequences)]
          .filter((sequence) => sequence > group.released)
          .sort((a, b) => a - b)
        if (wanted.length === 0) return Effect.succeed([])
        return Effect.map(ask("read", "readAt", wanted), (picked) => {
          const entries: Array<LogEntry> = []
          for (const { data, items } of picked.parts) {
            for (const record of decode(data, items)) {
              entries.push({ sequence: picked.sequences[entries.length]!, record })
            }
          }
          return entries
        })
      }),
    release: makeRelease(group, ask),
    deadLetters: {
      add: (letters) =>
        Effect.suspend(() =>
          ask(
            "adding dead letters",
            "addDeadLetters",
            letters.map(({ at, reason, record, sequence }) => ({
              at,
              reason,
              sequence,
              data: encodeOne(record)
            }))
          )
        ).pipe(Effect.map((added) => group.noteLetters(added))),
      list: ({ after, limit, maxBytes }) =>
        Effect.map(ask("listing dead letters", "listDeadLetters", after, limit, maxBytes), (letters) =>
          letters.map(
            ({ at, data, reason, sequence }): DeadLetter => ({
              sequence,
              reason,
              at,
              record: decode(data, 1)[0]!
            })
          )
        ),
      remove: (sequences) =>
        Effect.map(ask("removing dead letters", "removeDeadLetters", sequences), ({ bytes, items }) => {
          group.noteLetters({ items: -items, bytes: -bytes })
          return items
        }),
      count: () => group.usage().letters
    },
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

const whileMore = <E>(step: Effect.Effect<{ readonly more: boolean }, E>): Effect.Effect<void, E> =>
  Effect.asVoid(Effect.repeat(step, { while: ({ more }) => more }))

/** Calls that come while a release is under way share the next one. */
const makeRelease = (group: GroupCommit, ask: Ask): OpenLog["release"] => {
  let wanted = group.released
  const gate = Effect.unsafeMakeSemaphore(1)
  const prune = whileMore(ask("release", "prune"))
  const releaseWanted = Effect.suspend(() => {
    if (wanted <= group.released) return Effect.void
    const upTo = wanted
    return ask("release", "release", upTo).pipe(
      Effect.tap(() => Effect.sync(() => group.noteReleased(upTo))),
      Effect.flatMap(({ more }) => (more ? prune : Effect.void))
    )
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
    save: (snapshot) =>
      alone(
        Effect.gen(function* () {
          const parts = Math.max(1, Math.ceil(snapshot.length / snapshotPartBytes))
          for (let part = 0; part < parts; part++) {
            const data = snapshot.slice(part * snapshotPartBytes, (part + 1) * snapshotPartBytes)
            yield* ask("saving the filter snapshot", "writeSnapshotPart", part, data)
          }
          yield* ask("saving the filter snapshot", "publishSnapshot", parts)
          yield* prune
        })
      ),
    load: alone(
      Effect.gen(function* () {
        const parts = yield* ask("loading the filter snapshot", "snapshotParts")
        if (parts === 0) return Option.none()
        const pieces: Array<Uint8Array> = []
        for (let part = 0; part < parts; part++) {
          const piece = yield* ask("loading the filter snapshot", "readSnapshotPart", part)
          if (piece === undefined) return Option.none()
          pieces.push(piece)
        }
        return Option.some(joined(pieces))
      })
    )
  }
}

const joined = (pieces: ReadonlyArray<Uint8Array>): Uint8Array => {
  const whole = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0))
  let at = 0
  for (const piece of pieces) {
    whole.set(piece, at)
    at += piece.length
  }
  return whole
}

/**
 * The log alone; see `open`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: SqliteLogOptions): Effect.Effect<OpenLog, LogOpenError, Scope.Scope> =>
  Effect.map(open(options), ({ log }) => log)

/**
 * The log and the filter's snapshots, in one file behind one worker.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: SqliteLogOptions): Layer.Layer<WriteAheadLog | FilterSnapshots> =>
  layerBoth(options.path, open(options))
