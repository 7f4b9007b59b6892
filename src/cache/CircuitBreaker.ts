/**
 * A circuit breaker as one plain cell. After a number of failures in a row it opens: calls are turned away until
 * the cool-down is over, then one probe is let through, whose outcome closes it or opens it again.
 */
export class CircuitBreaker {
  private failures = 0
  private openedAt: number | undefined
  private probing = false

  /**
   * @param threshold failures in a row that open the circuit, 1 or more
   * @param coolDownMs how long it stays open before a probe
   */
  constructor(
    readonly threshold: number,
    readonly coolDownMs: number
  ) {}

  get isOpen(): boolean {
    return this.openedAt !== undefined
  }

  /** Milliseconds until a probe would be let through; 0 when that is now. */
  retryAfter(now: number): number {
    return this.openedAt === undefined ? 0 : Math.max(0, this.openedAt + this.coolDownMs - now)
  }

  /** Whether a call may be made; with an open circuit it is the probe. */
  admits(now: number): boolean {
    if (this.openedAt === undefined) return true
    if (this.probing || this.retryAfter(now) > 0) return false
    this.probing = true
    return true
  }

  /** A call succeeded; true when this closed the circuit. */
  succeeded(): boolean {
    const wasOpen = this.isOpen
    this.failures = 0
    this.openedAt = undefined
    this.probing = false
    return wasOpen
  }

  /** A call failed; true when this opened the circuit. */
  failed(now: number): boolean {
    this.failures += 1
    const wasOpen = this.isOpen
    if (!wasOpen && this.failures < this.threshold) return false
    this.openedAt = now
    this.probing = false
    return !wasOpen
  }
}
