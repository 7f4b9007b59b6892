/**
 * Numbers of things in messages.
 *
 * @since 0.1.0
 */

/** `1 write`, `2 writes`; the plural where an `s` does not make it. @since 0.1.0 @category formatting */
export const counted = (count: number, one: string, many = `${one}s`): string =>
  `${count} ${count === 1 ? one : many}`
