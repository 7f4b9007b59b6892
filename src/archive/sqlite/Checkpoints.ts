/**
 * Folds the -wal file into the database beside the commits and not within them, from a connection of its own: a commit
 * that folds in what it has written waits for every page to reach its place.
 *
 * SQLite begins the file anew with the next transaction once all of it is folded in and nobody reads from it. Commits
 * that follow one another never leave it that moment; so at the bound a commit waits for the rest. Rejected: checkpoints
 * of the commit's own connection at a larger interval, which are as much work at once.
 */
import { Effect, Either } from "effect"

/** The pages in the -wal file, and how many of them are folded in. */
export interface WalState {
  readonly pages: number
  readonly folded: number
}

/** 64 MiB of pages of 4 KiB: an update that comes again meanwhile is folded in once. */
const mostPages = 16_384

/** What the file holds afterwards, or why it failed; nothing when it was not tried, of which is told elsewhere. */
export type FoldedIn = Either.Either<WalState, string> | undefined

/** Folds in what can be. */
export type FoldIn = (done: (after: FoldedIn) => void) => void

export class Checkpoints {
  private state: WalState = { pages: 0, folded: 0 }
  private folding = false
  private readonly waiting: Array<() => void> = []
  /** Why the last one failed, and whether that has been told. */
  private problem: string | undefined
  private told = false

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
   * keeps that from ending, and so does a failure, which is told; then the transaction goes on, and the next one tries
   * again.
   */
  readonly room: Effect.Effect<void> = Effect.suspend(() => {
    if (this.state.pages < this.most || this.state.folded === this.state.pages) return this.news
    const whole = Effect.async<void>((resume) => {
      this.waiting.push(() => resume(Effect.void))
      this.start()
    })
    return Effect.zipRight(Effect.zipRight(this.ended, whole), this.news)
  })

  /** Waits for the end of what is under way, if anything is; it may have begun before the last commit. */
  readonly ended: Effect.Effect<void> = Effect.async((resume) => {
    if (!this.folding) return resume(Effect.void)
    this.waiting.push(() => resume(Effect.void))
  })

  /** Tells once that it fails, and once that it does no more. */
  private readonly news: Effect.Effect<void> = Effect.suspend(() => {
    const fails = this.problem !== undefined
    if (fails === this.told) return Effect.void
    this.told = fails
    return fails
      ? Effect.logWarning(`the archive's -wal file cannot be folded in, and grows: ${this.problem}`)
      : Effect.logInfo("the archive's -wal file is folded in again")
  })

  private start(): void {
    if (this.folding) return
    this.folding = true
    this.foldIn((after) => {
      this.folding = false
      if (after !== undefined) {
        this.problem = Either.isLeft(after) ? after.left : undefined
        if (Either.isRight(after)) this.state = after.right
      }
      for (const go of this.waiting.splice(0)) go()
    })
  }
}
