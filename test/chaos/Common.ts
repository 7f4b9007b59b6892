/** What the load and its judge agree on. */

/** Ids stand in groups that are listed as one. */
export const groups = 100
export const groupSize = 20
export const idOf = (group: number, n: number): string => `g${group}.i${n}`
/** Ids whose writes are promised to survive only as long as their node does. */
export const shortLived = (n: number): string => `early.i${n}`

export const allIds: ReadonlyArray<string> = [
  ...Array.from({ length: groups * groupSize }, (_, n) => idOf(Math.floor(n / groupSize), n % groupSize)),
  ...Array.from({ length: groupSize }, (_, n) => shortLived(n))
]

/** Milliseconds of a clock that all processes of a machine share and nobody sets. */
export const now = (): number => Number(process.hrtime.bigint()) / 1e6

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** The call that a content names. */
export const callIn = (text: string): string | undefined => /"call":"([^"]+)"/.exec(text)?.[1]
