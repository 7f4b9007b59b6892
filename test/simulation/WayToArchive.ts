/** How a node's process reaches the archive: late, in vain, or without an answer. */
import { Effect } from "effect"
import type { OpenArchive } from "../../src/archive/Archive.js"
import { ArchiveError } from "../../src/archive/ArchiveError.js"
import * as MemoryArchive from "../../src/archive/memory/MemoryArchive.js"
import { heldByAnother } from "../../src/archive/WriterLease.js"
import type { ItemRecord } from "../../src/SyncItem.js"
import { headText } from "./Model.js"
import type { Process } from "./Turns.js"
import type { World } from "./World.js"

/** A lease, and the heartbeats before and after it. */
const mostHeldMs = 25_000

export class WayToArchive {
  /** Commits sent to the archive whose fate is open, and their process. */
  private readonly sent = new Map<
    object,
    {
      readonly process: Process
      readonly records: ReadonlyArray<ItemRecord>
      readonly archive: OpenArchive
    }
  >()

  constructor(private readonly world: World) {}

  /** The archive as this process reaches it. */
  reachedBy(process: Process): OpenArchive {
    const { world } = this
    const archive: OpenArchive = MemoryArchive.make({
      state: world.archive,
      hooks: {
        before: ({ operation, records }) =>
          Effect.suspend(() => {
            if (!process.alive) return Effect.void
            const token = {}
            if (records !== undefined) this.sent.set(token, { process, records, archive })
            return Effect.ensuring(
              Effect.zipRight(
                this.delay(operation),
                Effect.suspend(() => this.refusal(operation, records) ?? Effect.void)
              ),
              Effect.sync(() => this.sent.delete(token))
            )
          }),
        after: ({ operation, records }) =>
          Effect.suspend(() => {
            world.sawRoot()
            if (!process.alive) return Effect.void
            const lost = !world.calm && world.chance.bool(world.settings.lostAnswer)
            return Effect.zipRight(
              this.delay(operation),
              Effect.suspend(() => {
                if (lost) return Effect.fail(this.fault(operation, "the answer was lost"))
                if (records !== undefined) world.feed.confirmed(records)
                return Effect.void
              })
            )
          })
      }
    })
    return {
      ...archive,
      commit: (records, absent) =>
        Effect.tapBoth(archive.commit(records, absent), {
          onFailure: (error) =>
            Effect.sync(() => {
              if (error.problem === heldByAnother().problem) this.held()
            }),
          onSuccess: () =>
            Effect.sync(() => {
              world.heldSince = undefined
            })
        })
    }
  }

  private delay(operation: string): Effect.Effect<void> {
    const { world } = this
    const { archiveDelayMs, archiveStall } = world.settings
    const takes = (ms: number) => world.takes(operation === "commit" ? "commit slow" : "archive slow", ms)
    if (!world.calm && world.chance.bool(archiveStall)) return takes(world.chance.between(500, 4000))
    return archiveDelayMs === 0 || world.chance.bool(0.5)
      ? Effect.void
      : takes(world.chance.between(1, archiveDelayMs))
  }

  /** The archive refused a commit, because another node is its only writer: for as long as a lease lasts. */
  private held(): void {
    const { world } = this
    const { faults, name, turns } = world
    world.hand("held")
    world.heldSince ??= turns.now
    const since = world.heldSince
    const mayLast =
      mostHeldMs +
      faults.lasted(since, name, "archive slow", "commit slow", "pause") +
      (faults.last(name, "archive") >= since ? mostHeldMs : 0)
    world.violations.require(
      turns.now - since <= mayLast,
      () => `commits of ${name} have been refused for ${turns.now - since} ms for another's lease`
    )
  }

  private refusal(operation: string, records: ReadonlyArray<ItemRecord> | undefined) {
    const { world } = this
    if (world.archiveDown) return Effect.fail(this.fault(operation, "the archive is down"))
    if (!world.calm && world.chance.bool(world.settings.archiveFailure)) {
      return Effect.fail(this.fault(operation, "a transient failure"))
    }
    const poison = records?.filter((record) => world.isPoison(record)) ?? []
    if (poison.length === 0) return undefined
    for (const record of poison) world.refused.add(refusalKey(record))
    return Effect.fail(new ArchiveError({ operation, kind: "permanent", problem: "this row is refused" }))
  }

  private fault(operation: string, problem: string): ArchiveError {
    this.world.hand("archive")
    return new ArchiveError({ operation, kind: "transient", problem })
  }

  /** Commits that a process has sent may still arrive after its death. */
  ended(process: Process): void {
    const { world } = this
    for (const [token, { archive, process: sender, records }] of this.sent) {
      if (sender !== process) continue
      this.sent.delete(token)
      if (!world.settings.hasArchive || world.archiveDown || world.chance.bool(0.5)) continue
      if (records.some((record) => world.isPoison(record))) continue
      world.turns.after(world.chance.between(0, 300), world.self, () => {
        world.note(
          `a commit of the dead process arrives: ${records.map((record) => `${record.id} ${headText(record)}`).join(", ")}`
        )
        Effect.runSync(Effect.ignore(archive.commit(records)))
        world.sawRoot()
      })
    }
  }
}

export const refusalKey = (record: ItemRecord): string => `${record.id}:${headText(record)}`
