/**
 * The one order of ids and paths: by their UTF-8 bytes, as the archive's indexes sort them. JavaScript's own
 * `<` compares UTF-16 code units, which puts characters above U+FFFF before U+E000 to U+FFFF.
 */

// Surrogates move above the private use area and the rest of the basic plane, which UTF-8 sorts below them.
const inUtf8Order = (unit: number): number => (unit >= 0xe000 ? unit - 0x800 : unit + 0x2000)

/** Orders two well-formed texts by their UTF-8 bytes: negative when `a` comes first, zero when equal. */
export const compareBytes = (a: string, b: string): number => {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i)
    const y = b.charCodeAt(i)
    if (x === y) continue
    return x >= 0xd800 && y >= 0xd800 ? inUtf8Order(x) - inUtf8Order(y) : x - y
  }
  return a.length - b.length
}
