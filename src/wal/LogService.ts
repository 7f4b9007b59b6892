/** The services of a log, whatever its operations are made of. */
import { Context, Effect, Layer, Option, type Scope } from "effect"
import type { LogOpenError, LogUnavailable } from "../EngineError.js"
import { join } from "../shared/Pieces.js"
import { FilterSnapshots } from "./FilterSnapshots.js"
import { type GroupCommit, unavailable } from "./GroupCommit.js"
import type { LogOperations, SegmentSlice } from "./LogProtocol.js"
import { decode } from "./SegmentCodec.js"
import { encodeOne } from "./SegmentWriter.js"
import { type LogEntry, type OpenLog, WriteAheadLog } from "./WriteAheadLog.js"

/** A log that is open, and the snapshots kept beside it. */
export interface LogServices {
  readonly log: OpenLog
  readonly snapshots: Context.Tag.Service<FilterSnapshots>
}

/** Asks for an operation; fails with what stands in its way. */
type Request = <K extends keyof LogOperations>(
  operation: K,
  parameters: Parameters<LogOperations[K]>
) => Effect.Effect<ReturnType<LogOperations[K]>, string>

type Ask = <K extends keyof LogOperations>(
  what: string,
  operation: K,
  ...parameters: Parameters<LogOperations[K]>
) => Effect.Effect<ReturnType<LogOperations[K]>, LogUnavailable>

/** Parts a filter snapshot is written in: commits get their turn between two of them. */
const snapshotPartBytes = 1024 * 1024

const maxProbeBytes = 1024 * 1024

/** The services over appends in groups and requests for everything else. */
export const servicesOf = (group: GroupCommit, identity: string, request: Request): LogServices => {
  const ask: Ask = (what, operation, ...parameters) =>
    Effect.suspend(() =>
      group.problem === undefined ? request(operation, parameters) : Effect.fail(group.problem)
    ).pipe(Effect.mapError((problem) => unavailable(group.path, what, problem)))
  return { log: makeLog(group, ask, identity), snapshots: makeSnapshots(ask) }
}

const makeLog = (group: GroupCommit, ask: Ask, identity: string): OpenLog => {
  const unsafeAppend: OpenLog["unsafeAppend"] = (records, done, moved) => group.append(records, done, moved)
  return {
    path: group.path,
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
    binding: () => group.binding,
    bind: (next) =>
      Effect.map(ask("binding to an archive", "bind", next), () => {
        group.binding = next
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

/** A log and its snapshots as two services: the snapshots can be used once the log is open. */
export const layerOf = (
  path: string,
  open: Effect.Effect<LogServices, LogOpenError, Scope.Scope>
): Layer.Layer<WriteAheadLog | FilterSnapshots> =>
  Layer.effectContext(
    Effect.sync(() => {
      let opened: LogServices["snapshots"] | undefined
      const use = <A>(
        operation: string,
        call: (snapshots: LogServices["snapshots"]) => Effect.Effect<A, LogUnavailable>
      ) =>
        Effect.suspend(() =>
          opened === undefined ? unavailable(path, operation, "the log is not open") : call(opened)
        )
      return Context.make(WriteAheadLog, {
        open: Effect.map(open, ({ log, snapshots }) => {
          opened = snapshots
          return log
        })
      }).pipe(
        Context.add(FilterSnapshots, {
          save: (snapshot) => use("saving the filter snapshot", ({ save }) => save(snapshot)),
          load: use("loading the filter snapshot", ({ load }) => load)
        })
      )
    })
  )
