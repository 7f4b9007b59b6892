/**
 * What a writer writes down, one JSON line each, straight into a file: what has been handed to the kernel outlives a
 * SIGKILL, so no acknowledgement the writer has seen is missing. A last line without its end was cut and does not
 * count.
 */
import { readFileSync } from "node:fs"

/** An item as the restarted engine shows it: its op is the write whose content is there, 0 for a deletion. */
export type Seen = readonly [id: string, version: number, op: number]

export type Entry =
  /** The log is open; it holds so many writes from before. */
  | { readonly kind: "opened"; readonly pending: number }
  /** Everything that is there after the start, and whether the recomputed root is the stored one. */
  | { readonly kind: "seen"; readonly items: ReadonlyArray<Seen>; readonly inSync: boolean }
  /** About to be submitted. */
  | {
      readonly kind: "intent"
      readonly writes: ReadonlyArray<readonly [op: number, id: string, deletes: boolean]>
    }
  | {
      readonly kind: "acknowledged"
      readonly durability: "memory" | "wal" | "archive"
      readonly writes: ReadonlyArray<readonly [op: number, version: number]>
    }
  | { readonly kind: "rejected"; readonly error: string; readonly ops: ReadonlyArray<number> }
  /** A promise was broken before any kill. */
  | { readonly kind: "wrong"; readonly problem: string }
  | { readonly kind: "stopped"; readonly clean: boolean; readonly itemsLeftInLog: number }

export const readJournal = (file: string): ReadonlyArray<Entry> =>
  readFileSync(file, "utf8")
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Entry)
