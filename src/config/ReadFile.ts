/** Reads configuration files from the file system. */
import { createReadStream } from "node:fs"
import { Data, Effect } from "effect"

/** A configuration file could not be read. `code` is the system's, or `TOO_LARGE` or `NOT_UTF8`. */
export class FileProblem extends Data.TaggedError("FileProblem")<{ readonly code: string }> {}

/** Configuration files and files of secrets have at most this many bytes. */
const maxFileBytes = 1024 * 1024

const readBounded = async (path: string): Promise<string> => {
  const chunks: Array<Uint8Array> = []
  let bytes = 0
  // A stream, since the file may be a pipe or a device without end.
  for await (const chunk of createReadStream(path)) {
    bytes += chunk.length
    if (bytes > maxFileBytes) throw new FileProblem({ code: "TOO_LARGE" })
    chunks.push(chunk)
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks))
  } catch {
    throw new FileProblem({ code: "NOT_UTF8" })
  }
}

/** Reads a file of at most 1 MiB of UTF-8. */
export const readFile = (path: string): Effect.Effect<string, FileProblem> =>
  Effect.tryPromise({
    try: () => readBounded(path),
    catch: (error) =>
      new FileProblem({
        code:
          typeof error === "object" && error !== null && "code" in error && typeof error.code === "string"
            ? error.code
            : "UNREADABLE"
      })
  })
