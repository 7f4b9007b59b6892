/**
 * How much of a batch is committed at once. A batch for which the archive's time was over would take as long the
 * next time: half of it is tried then, and more again once that goes well.
 */

const mostParts = 2 ** 20

/** Batches in a row that have to go well before twice as much is tried. */
const goodBatches = 8

export class BatchShare {
  private parts = 1
  private good = 0

  /** What is left of a bound on a batch. */
  of(bound: number): number {
    return Math.max(1, Math.floor(bound / this.parts))
  }

  /** A batch took longer than the archive's time for it. */
  overdue(): void {
    this.parts = Math.min(mostParts, this.parts * 2)
    this.good = 0
  }

  /** A batch was committed. */
  committed(): void {
    if (this.parts === 1 || ++this.good < goodBatches) return
    this.parts /= 2
    this.good = 0
  }
}
