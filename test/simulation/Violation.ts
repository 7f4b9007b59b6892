/** A broken promise. The first one is kept, because checks also run inside the engine's fibers, which catch what is thrown. */
export class Violations {
  first: string | undefined

  report(problem: string): void {
    if (this.first === undefined) this.first = problem
  }

  require(holds: boolean, problem: () => string): void {
    if (!holds) this.report(problem())
  }
}

/** Which promise it was: what is told, without the calls, ids, versions and numbers that differ from story to story. */
export const kindOf = (violation: string, ids: ReadonlyArray<string>): string => {
  // Longest first: ids may hold others.
  const known = [...ids].sort((a, b) => b.length - a.length).map(escaped)
  return violation
    .split("\n", 1)[0]!
    .replace(/\([^)]*\)/g, "")
    .replace(new RegExp(`(?<=^|[ ,"])(${known.join("|")})(?=$|[ ,:;"])`, "gu"), "ID")
    .replace(/\b\d+(x|\/[0-9a-f]{4})\b/g, "HEAD")
    .replace(/#?\b\d+(\.\d+)?\b/g, "N")
    .replace(/\b(ID|HEAD|N|none)\b(,? ?\b(ID|HEAD|N|none)\b)*/g, "…")
    .replace(/\s+/g, " ")
    .trim()
}

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")
