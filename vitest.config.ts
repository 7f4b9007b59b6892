import { defineConfig } from "vitest/config"

// Worker threads and child processes run the compiled package, so every run compiles first.
const globalSetup = ["test/support/compile.ts"]

// These listen on ports of this machine.
const sockets = ["test/http/**/*.test.ts", "test/cli/**/*.test.ts"]

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/**/*.test.ts", "examples/**/*.test.ts"],
          exclude: [...sockets, "test/integration/**", "test/process/**", "test/simulation/**"],
          // Most take milliseconds; the bound is for busy machines.
          testTimeout: 60_000,
          globalSetup
        }
      },
      {
        test: {
          name: "sockets",
          include: sockets,
          testTimeout: 60_000,
          // Real sockets on a shared machine: a test that fails twice has failed.
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
