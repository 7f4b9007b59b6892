/** Numbers of things in messages. */

/** `1 write`, `2 writes`; the plural where an `s` does not make it. */
export const counted = (count: number, one: string, many = `${one}s`): string =>
  `${count} ${count === 1 ? one : many}`
