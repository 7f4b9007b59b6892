/**
 * Single reads that missed memory. Those of one turn share one fetch, and later ones of the same id join it while it is
 * under way. This node's writes and leases make a fetch look again; another node's write does not, so while there may be
 * others a reader joins no fetch that began before it: what it denies may have come in between.
 */
import { Effect, Exit, Option } from "effect"
import type { ReadError } from "../../EngineError.js"
import type { ItemRecord, SyncItem } from "../../SyncItem.js"
import type { EngineState } from "../state/EngineState.js"
import type { TierError, TierReads } from "./TierReads.js"

type Answer = Effect.Effect<Option.Option<SyncItem>, ReadError>

/** Wakes one reader. */
type Waiting = (answer: Answer) => void

export class SharedMisses {
  /** Those whose fetch begins with the next turn. */
  private next = new Map<string, Array<Waiting>>()
  /** Those whose fetch is under way; the latest of an id. */
  private readonly underWay = new Map<string, Array<Waiting>>()

  constructor(
    private readonly core: EngineState,
    private readonly tiers: TierReads
  ) {}

  /**
   * One synchronous step joins the batch and decides who answers it; an interruption must not come before the answering
   * fiber has been started, because everybody after this reader counts on it.
   */
  read(id: string): Answer {
    return Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        let answer: Answer | undefined
        let wake: Waiting | undefined
        const resume: Waiting = (effect) => {
          answer = effect
          wake?.(effect)
        }
        const answered: Answer = Effect.async((told) => {
          if (answer === undefined) wake = told
          else told(answer)
        })
        const others = this.next.get(id) ?? (this.core.writer.isCertain() ? this.underWay.get(id) : undefined)
        if (others !== undefined) {
          others.push(resume)
          return restore(answered)
        }
        this.next.set(id, [resume])
        return this.next.size === 1 ? Effect.zipRight(this.start, restore(answered)) : restore(answered)
      })
    )
  }

  /** The yield lets the other readers of this turn join. Nobody waits for this fiber's exit: its readers have it. */
  private readonly start = Effect.suspend(() =>
    Effect.yieldNow().pipe(
      Effect.zipRight(this.answerNext),
      Effect.ignore,
      Effect.uninterruptible,
      Effect.forkIn(this.core.detached)
    )
  )

  private readonly answerNext = Effect.suspend(() => {
    const open = this.next
    this.next = new Map()
    for (const [id, readers] of open) this.underWay.set(id, readers)
    const tell = (id: string, answer: Answer): void => {
      const readers = open.get(id)
      if (readers === undefined) return
      open.delete(id)
      if (this.underWay.get(id) === readers) this.underWay.delete(id)
      for (const resume of readers) resume(answer)
    }
    const fetched = this.tiers.each([...open.keys()], (id, record) =>
      tell(id, Effect.succeed(visible(record)))
    )
    return Effect.onExit(Effect.interruptible(fetched), (exit) =>
      Effect.sync(() => {
        for (const id of [...open.keys()]) tell(id, this.failureOf(id, exit))
      })
    )
  })

  private failureOf(id: string, exit: Exit.Exit<ReadonlyMap<string, TierError>>): Answer {
    if (Exit.isInterrupted(exit)) return Effect.fail(this.core.gate.closed("query"))
    if (Exit.isFailure(exit)) return Effect.failCause(exit.cause)
    const error = exit.value.get(id)
    return error === undefined ? Effect.dieMessage(`no answer for ${JSON.stringify(id)}`) : Effect.fail(error)
  }
}

export const visible = (record: ItemRecord | undefined): Option.Option<SyncItem> =>
  record === undefined || record.deleted ? Option.none() : Option.some(record)
