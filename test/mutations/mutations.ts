/** A deliberate defect. */
export interface Mutation {
  /** What breaks. */
  readonly name: string
  readonly file: string
  /** The text that is replaced; it stands exactly once in the file. */
  readonly find: string
  readonly replace: string
  /** The test files that must notice. */
  readonly tests: ReadonlyArray<string>
}

/** Every entry broke a promise unnoticed once, or guards one. */
export const mutations: ReadonlyArray<Mutation> = [
  {
    name: "compare-and-set ignores the expected hash",
    file: "src/engine/Writes.ts",
    find: "if (actual !== expected.version || other) {",
    replace: "if (actual !== expected.version) {",
    tests: ["test/engine/CompareAndSet.test.ts"]
  },
  {
    name: "a write does not tell the filter",
    file: "src/engine/Intake.ts",
    find: "  core.filter?.beforeWrite(records)\n",
    replace: "",
    tests: ["test/engine/Filter.test.ts"]
  }
]
