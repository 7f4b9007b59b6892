/** A broken promise. The first one is kept, because checks also run inside the engine's fibers, which catch what is thrown. */
export class Violations {
  first: string | undefined

  report(problem: string): void {
    if (this.first === undefined) this.first = problem
  }

  require(holds: boolean, problem: () => string): void {
    if (!holds) this.report(problem())
  }
}
