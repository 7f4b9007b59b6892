/**
 * Rows are read with their contents a few megabytes at a time, whatever they weigh.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Archive, ArchiveError } from "../archive/Archive.js"

/** @since 0.1.0 @category models */
export type ArchiveService = Context.Tag.Service<Archive>

/** Contents of one tier that are held at once. @since 0.1.0 @category constants */
export const bytesAtOnce = 4 * 1024 * 1024
const idsAtOnce = 500

/**
 * The ids in groups whose rows have at most 4 MiB of contents together; a larger row is alone. A row that grows before
 * it is read grows its group.
 *
 * @since 0.1.0
 * @category functions
 */
export const groupsByBytes = (
  archive: ArchiveService,
  ids: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<ReadonlyArray<string>>, ArchiveError> =>
  ids.length === 0
    ? Effect.succeed([])
    : Effect.map(archive.sizes(ids), (sizes) => {
        const groups: Array<ReadonlyArray<string>> = []
        let group: Array<string> = []
        let bytes = 0
        for (const id of ids) {
          const size = sizes.get(id) ?? 0
          if (group.length > 0 && (bytes + size > bytesAtOnce || group.length === idsAtOnce)) {
            groups.push(group)
            group = []
            bytes = 0
          }
          group.push(id)
          bytes += size
        }
        groups.push(group)
        return groups
      })
