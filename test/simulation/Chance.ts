/**
 * The only source of randomness of a simulation: the same seed gives the same decisions for ever.
 * Source: sfc32, Chris Doty-Humphrey's "Small Fast Counting" generator (PractRand), seeded by mixing one integer.
 */
export class Chance {
  private a: number
  private b: number
  private c: number
  private counter = 1

  constructor(seed: number) {
    let mix = (seed ^ 0x9e3779b9) >>> 0
    const next = () => {
      mix = (mix + 0x6d2b79f5) >>> 0
      let t = Math.imul(mix ^ (mix >>> 15), mix | 1)
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
      return (t ^ (t >>> 14)) >>> 0
    }
    this.a = next()
    this.b = next()
    this.c = next()
    for (let i = 0; i < 12; i++) this.bits()
  }

  /** 32 random bits. */
  bits(): number {
    const t = (((this.a + this.b) | 0) + this.counter) | 0
    this.counter = (this.counter + 1) | 0
    this.a = this.b ^ (this.b >>> 9)
    this.b = (this.c + (this.c << 3)) | 0
    this.c = (this.c << 21) | (this.c >>> 11)
    this.c = (this.c + t) | 0
    return t >>> 0
  }

  /** 0 up to, but not including, `below`. */
  int(below: number): number {
    return below <= 1 ? 0 : this.bits() % below
  }

  /** `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + this.int(high - low + 1)
  }

  bool(probability: number): boolean {
    return probability > 0 && this.bits() < probability * 2 ** 32
  }

  pick<A>(items: ReadonlyArray<A>): A {
    return items[this.int(items.length)]!
  }

  /** Picks by weight; weights need not add up to anything. */
  weighted<A>(choices: ReadonlyArray<readonly [weight: number, choice: A]>): A {
    let left = (this.bits() / 2 ** 32) * choices.reduce((sum, [weight]) => sum + weight, 0)
    for (const [weight, choice] of choices) {
      left -= weight
      if (left < 0) return choice
    }
    return choices[choices.length - 1]![1]
  }
}
