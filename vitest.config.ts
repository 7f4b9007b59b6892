import { defineConfig } from "vitest/config"

// Worker threads and child processes run the compiled package, so every run compiles first.
const globalSetup = ["test/support/compile.ts"]

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: ["test/integration/**", "test/process/**", "test/simulation/**"],
          // Most take milliseconds; the bound, and one more try for those with real sockets, are for busy machines.
          testTimeout: 60_000,
          retry: 1,
          globalSetup
        }
      },
      {
        test: {
          name: "simulation",
          include: ["test/simulation/**/*.test.ts"],
          testTimeout: 300_000,
          globalSetup
        }
      },
      {
        test: {
          name: "integration",
          include: ["test/integration/**/*.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          // Real servers on a shared machine: a test that fails twice has failed.
          retry: 1,
          globalSetup: [...globalSetup, "test/support/servers.ts"]
        }
      },
      {
        test: {
          name: "process",
          include: ["test/process/**/*.test.ts"],
          testTimeout: 300_000,
          hookTimeout: 120_000,
          retry: 1,
          globalSetup
        }
      }
    ]
  }
})
