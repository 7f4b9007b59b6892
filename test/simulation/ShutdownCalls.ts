/** The end of a life in order, and the truth of its report. */
import { Exit } from "effect"
import type { ShutdownReport } from "../../src/Lifecycle.js"
import type * as Life from "./Life.js"
import type { World } from "./World.js"

/** Turns after which a shutdown that was asked for has surely begun to count. */
const turnsToBegin = 200

/** One to three callers ask for the shutdown. */
export class ShutdownCalls {
  private readonly reports: Array<ShutdownReport> = []
  private callers = 0
  /** Entries that had been carried to the archive when the shutdown was asked for, and once it surely was under way. */
  private releasedBefore = 0
  private releasedLater = 0
  private turnsToCount = turnsToBegin
  private orderly = false
  private mark = 0

  constructor(
    private readonly world: World,
    private readonly life: Life.Life
  ) {}

  begin(): void {
    const { life, world } = this
    const { chance, model, turns } = world
    this.callers = chance.between(1, 3)
    world.note(`shutdown asked by ${this.callers}`)
    world.hand("shutdown")
    this.releasedBefore = model.carried
    this.orderly = life.lifecycle.acceptsQueries() && !model.isBetween
    this.mark = world.faults.mark
    for (let caller = 0; caller < this.callers; caller++) {
      turns.after(caller === 0 ? 0 : chance.int(200), life.process, () => {
        life.run(life.engine.shutdown, (exit) => {
          if (Exit.isSuccess(exit)) this.reports.push(exit.value)
          else world.violations.report(`a shutdown failed: ${exit.cause._tag}`)
        })
      })
    }
  }

  /** Asked every turn. */
  get through(): boolean {
    if (this.turnsToCount > 0 && this.life.lifecycle.unsafeSnapshot().phase === "shutting_down") {
      this.turnsToCount--
      this.releasedLater = this.world.model.carried
    }
    return this.callers > 0 && this.reports.length === this.callers
  }

  /** Promise 10: the report is true, and everybody gets the same. */
  check(inCalm: boolean): void {
    const { life, world } = this
    const { disk, model, settings, violations } = world
    const report = this.reports[0]!
    const { itemsFlushed, itemsLeftInLog, problems } = report
    world.note(`report: ${itemsFlushed} flushed, ${itemsLeftInLog} left, ${problems.join("; ")}`)
    violations.require(
      this.reports.every((other) => other === report),
      () => "callers got different shutdown reports"
    )
    violations.require(
      itemsLeftInLog === disk.entries.length,
      () => `the report says ${itemsLeftInLog} are left in the log; the disk holds ${disk.entries.length}`
    )
    violations.require(
      !report.flushedWal || model.isCarried,
      () => "the report says that all is flushed, but the log holds what the archive does not"
    )
    violations.require(
      report.flushedWal || disk.entries.length > 0,
      () => "the report says that something is not flushed, but the log is empty"
    )
    if (this.orderly && !world.faults.since(this.mark, world.name, "log")) {
      const most = model.carried - this.releasedBefore
      const least = Math.min(most, model.carried - this.releasedLater)
      violations.require(
        itemsFlushed >= least && itemsFlushed <= most,
        () => `the report says ${itemsFlushed} flushed; ${least} to ${most} were carried to the archive`
      )
    }
    const { shutdownDelay, shutdownTimeout } = life.config()
    violations.require(
      report.durationMs <= shutdownDelay + shutdownTimeout + 1000 || settings.clockSteps,
      () => `the shutdown took ${report.durationMs} ms`
    )
    if (!inCalm || !settings.hasArchive) return
    violations.require(
      itemsLeftInLog === 0 && report.flushedWal && problems.length === 0 && report.finalCheckpoint,
      () => `a shutdown in calm was not clean: ${problems.join("; ")}`
    )
  }
}
