/**
 * Finds where the members of a JSON object stand in its source, so that a value's exact bytes can be taken
 * over. Pure: no Effect, no I/O.
 */

/** Where one member's value stands: `start` inclusive, `end` exclusive, in bytes. */
export interface Member {
  readonly name: string
  readonly start: number
  readonly end: number
}

const quote = 0x22
const backslash = 0x5c
const comma = 0x2c
const closingBrace = 0x7d

const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d

/** The position after the string that opens at `at`. */
const stringEnd = (bytes: Uint8Array, at: number): number => {
  let position = at + 1
  while (bytes[position] !== quote) position += bytes[position] === backslash ? 2 : 1
  return position + 1
}

/** The position after the value that starts at `at`. */
const valueEnd = (bytes: Uint8Array, at: number): number => {
  const first = bytes[at]!
  if (first === quote) return stringEnd(bytes, at)
  let position = at
  if (first !== 0x7b && first !== 0x5b) {
    while (position < bytes.length) {
      const byte = bytes[position]!
      if (byte === comma || byte === closingBrace || isSpace(byte)) break
      position += 1
    }
    return position
  }
  let depth = 0
  for (;;) {
    const byte = bytes[position]!
    if (byte === quote) {
      position = stringEnd(bytes, position)
      continue
    }
    if (byte === 0x7b || byte === 0x5b) depth += 1
    else if (byte === closingBrace || byte === 0x5d) depth -= 1
    position += 1
    if (depth === 0) return position
  }
}

/**
 * The members of the object that `bytes` holds, in source order, duplicates included. The bytes must be a
 * JSON object in UTF-8 that a JSON parser has accepted before; nothing is validated here.
 */
export const membersOf = (bytes: Uint8Array): ReadonlyArray<Member> => {
  const source = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const members: Array<Member> = []
  let position = 0
  const skip = (...separators: ReadonlyArray<number>) => {
    while (isSpace(bytes[position]!) || separators.includes(bytes[position]!)) position += 1
  }
  skip(0x7b)
  while (bytes[position] === quote) {
    const nameEnd = stringEnd(bytes, position)
    const name = JSON.parse(source.toString("utf8", position, nameEnd)) as string
    position = nameEnd
    skip(0x3a)
    const start = position
    position = valueEnd(bytes, start)
    members.push({ name, start, end: position })
    skip(comma)
  }
  return members
}

/**
 * A name that stands twice in the object that `bytes` holds, or in an object that is one of its values: of such
 * members a JSON parser silently keeps the last. The bytes are as for {@link membersOf}; what nests deeper than
 * `levels` is not looked at.
 */
export const repeatedName = (bytes: Uint8Array, levels = 16): string | undefined => {
  const seen = new Set<string>()
  for (const { end, name, start } of membersOf(bytes)) {
    if (seen.has(name)) return name
    seen.add(name)
    const inner =
      levels > 1 && bytes[start] === 0x7b ? repeatedName(bytes.subarray(start, end), levels - 1) : undefined
    if (inner !== undefined) return inner
  }
  return undefined
}
