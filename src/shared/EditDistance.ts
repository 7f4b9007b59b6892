/** The nearest known name to a misspelt one. */

/** How many letters have to be changed, added, removed or swapped with their neighbour. */
const editDistance = (a: string, b: string): number => {
  let beforePrevious: Array<number> = []
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const replace = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      let best = Math.min(replace, previous[j]! + 1, row[j - 1]! + 1)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, beforePrevious[j - 2]! + 1)
      }
      row.push(best)
    }
    beforePrevious = previous
    previous = row
  }
  return previous[b.length]!
}

/** The nearest of the names, unless all are too far off to be meant. */
export const nearest = (name: string, known: Iterable<string>): string | undefined => {
  if (name.length > 100) return undefined
  let found: string | undefined
  let least = Math.max(2, Math.floor(name.length / 3)) + 1
  for (const candidate of known) {
    const distance = editDistance(name.toUpperCase(), candidate.toUpperCase())
    if (distance < least) {
      least = distance
      found = candidate
    }
  }
  return found
}
