/** Binary search: the first of `low .. high - 1` that is not before what is looked for; `high` when all are. */
export const lowerBound = (low: number, high: number, isBefore: (index: number) => boolean): number => {
  while (low < high) {
    const middle = (low + high) >>> 1
    if (isBefore(middle)) low = middle + 1
    else high = middle
  }
  return low
}
