/**
 * Callers' own versions end here, so that whatever is stored leaves the clock room for 2^50 newer ones. The wall clock
 * reaches it in the year 2213.
 */
export const maxOwnVersion = Number.MAX_SAFE_INTEGER - 2 ** 50
