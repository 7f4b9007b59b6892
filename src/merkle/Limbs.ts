/**
 * Sums as SQL can add them: eight signed 32-bit digits, least significant first. Digits are balanced (from
 * -2^31 to 2^31 - 1), so that the totals which the database adds up are a random walk around zero and stay
 * far inside 64 bits: after n changes they are near 2^31 times the square root of n. Signed-digit number
 * representations: A. Avizienis, "Signed-Digit Number Representations for Fast Parallel Arithmetic", 1961.
 */

/** How many digits a sum has. */
const limbCount = 8

/** The eight balanced digits of a sum, taken modulo 2^256 (what is carried out of the last digit is dropped). */
export const toLimbs = (sum: bigint): Array<number> => {
  const limbs = new Array<number>(limbCount)
  let carry = 0
  for (let pair = 0; pair < limbCount; pair += 2) {
    const bits = BigInt.asUintN(64, sum >> BigInt(pair * 32))
    for (let half = 0; half < 2; half++) {
      const digit = Number(half === 0 ? bits & 0xffff_ffffn : bits >> 32n) + carry
      carry = digit >= 0x8000_0000 ? 1 : 0
      limbs[pair + half] = carry === 1 ? digit - 0x1_0000_0000 : digit
    }
  }
  return limbs
}

/** The sum, modulo 2^256, that any eight totals of digits stand for. */
export const fromLimbs = (limbs: ReadonlyArray<bigint | number | string>): bigint => {
  if (limbs.length !== limbCount) throw new RangeError(`a sum has ${limbCount} limbs, not ${limbs.length}`)
  let sum = 0n
  for (let i = limbCount - 1; i >= 0; i--) sum = (sum << 32n) + BigInt(limbs[i]!)
  return BigInt.asUintN(256, sum)
}
