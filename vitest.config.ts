import { defineConfig } from "vitest/config"

// These listen on ports of this machine.
const sockets = ["test/http/**/*.test.ts", "test/cli/**/*.test.ts"]

export default defineConfig({
  test: {
    // Worker threads and child processes run the compiled package, so every run compiles first.
    globalSetup: ["test/support/compile.ts"],
    // `npm test` runs the projects without servers with --no-isolate: loading the modules anew for each file would cost
    // more than most files' tests, and no test replaces a module.
    maxWorkers: "100%",
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/**/*.test.ts", "examples/**/*.test.ts"],
          exclude: [
            ...sockets,
            "test/integration/**",
            "test/process/**",
            "test/simulation/**",
            "test/models/**"
          ],
          // Most take milliseconds; the bound is for busy machines.
          testTimeout: 60_000
        }
      },
      {
        test: {
          name: "sockets",
          include: sockets,
          // Thousands of connections, on a machine that does other things as well.
          testTimeout: 120_000
        }
      },
      {
        test: {
          name: "simulation",
          include: ["test/simulation/**/*.test.ts", "test/models/**/*.test.ts"],
          testTimeout: 300_000
        }
      },
      {
        test: {
          name: "integration",
          include: ["test/integration/**/*.test.ts"],
          // Servers and clients on a busy machine: what a test waits for, it counts.
          testTimeout: 300_000,
          hookTimeout: 120_000,
          globalSetup: ["test/support/servers.ts"]
        }
      },
      {
        test: {
          name: "process",
          include: ["test/process/**/*.test.ts"],
          testTimeout: 300_000,
          hookTimeout: 120_000
        }
      }
    ]
  }
})
