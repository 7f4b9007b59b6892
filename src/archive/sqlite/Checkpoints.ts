/**
 * Folds the -wal file into the database beside the commits and not within them, from a connection of its own: a commit
 * that folds in what it has written waits for every page to reach its place.
 *
 * SQLite begins the file anew with the next transaction once all of it is folded in and nobody reads from it. Commits
 * that follow one another never leave it that moment; so at the bound a commit waits for the rest. Rejected: checkpoints
 * of the commit's own connection at a larger interval, which are as much work at once.
 */
import { Effect } from "effect"

/** The pages in the -wal file, and how many of them are folded in. */
export interface WalState {
  readonly pages: number
  readonly folded: number
}

/** 64 MiB of pages of 4 KiB: an update that comes again meanwhile is folded in once. */
const mostPages = 16_384

/** Folds in what can be; nothing when it could not be tried. */
export type FoldIn = (done: (after: WalState | undefined) => void) => void

export class Checkpoints {
  private state: WalState = { pages: 0, folded: 0 }
  private folding = false
  private readonly waiting: Array<() => void> = []

  constructor(
    private readonly foldIn: FoldIn,
    private readonly most = mostPages
  ) {}

  /** What the file holds after a transaction. */
  note(state: WalState): void {
    this.state = state
    if (state.pages - state.folded >= this.most / 4) this.start()
  }

  /**
   * Before a transaction: waits while a file that has reached its bound is folded in. A reader in the middle of it
   * keeps that from ending; then the transaction goes on, and the next one tries again.
   */
  readonly room: Effect.Effect<void> = Effect.suspend(() => {
    if (this.state.pages < this.most || this.state.folded === this.state.pages) return Effect.void
    const whole = Effect.async<void>((resume) => {
      this.waiting.push(() => resume(Effect.void))
      this.start()
    })
    return this.folding ? Effect.zipRight(this.ended, whole) : whole
  })

  /** Waits for the end of what is under way, which may have begun before the last commit. */
  private readonly ended: Effect.Effect<void> = Effect.async((resume) => {
    this.waiting.push(() => resume(Effect.void))
  })

  private start(): void {
    if (this.folding) return
    this.folding = true
    this.foldIn((after) => {
      this.folding = false
      if (after !== undefined) this.state = after
      for (const go of this.waiting.splice(0)) go()
    })
  }
}
