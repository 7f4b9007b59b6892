/**
 * The write-ahead log in a SQLite file, in one worker thread.
 *
 * @since 0.1.0
 */
import * as path from "node:path"
import { type Context, Effect, type Layer, type Scope } from "effect"
import { LogOpenError } from "../EngineError.js"
import type { FilterSnapshots } from "./FilterSnapshots.js"
import { GroupCommit, type LogBounds } from "./GroupCommit.js"
import { LogLink } from "./LogLink.js"
import { layerOf, servicesOf } from "./LogService.js"
import type { OpenLog, WriteAheadLog } from "./WriteAheadLog.js"

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
    const group = new GroupCommit(link, file, opened, options, setImmediate)
    // Runs before the link's own finalizer: what was appended is sent ahead of the request to close.
    yield* Effect.addFinalizer(() => Effect.sync(() => group.close()))
    yield* link
      .keepOpen(
        () => ({ identity: opened.identity, committed: group.committed }),
        (again) => group.resumed(again)
      )
      .pipe(Effect.interruptible, Effect.forkScoped)
    const services = servicesOf(group, opened.identity, (operation, parameters) =>
      Effect.async((resume) => link.request(operation, parameters, resume))
    )
    return { ...services, link }
  })

/**
 * The log and the filter's snapshots, in one file behind one worker.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: SqliteLogOptions): Layer.Layer<WriteAheadLog | FilterSnapshots> =>
  layerOf(options.path, open(options))
