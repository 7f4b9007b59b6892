/** Rows are read with their contents a few megabytes at a time, whatever they weigh. */

import { Effect } from "effect"
import type { OpenArchive } from "../archive/Archive.js"
import type { ArchiveError } from "../archive/ArchiveError.js"

/** Contents of one tier that are held at once. */
export const bytesAtOnce = 4 * 1024 * 1024
const idsAtOnce = 500

/**
 * The ids in groups whose rows have at most 4 MiB of contents together; a larger row is alone. A row that grows before
 * it is read grows its group.
 */
export const groupsByBytes = (
  archive: OpenArchive,
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
