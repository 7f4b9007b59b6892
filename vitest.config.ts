import { defineConfig } from "vitest/config"

// These listen on ports of this machine.
const sockets = ["test/http/**/*.test.ts", "test/cli/**/*.test.ts"]

// These have files, threads and processes of their own.
const files = [
  "test/wal/{AtRest,LogDamage,LogRestart,SqliteLog,WriteAheadLog}.test.ts",
  "test/archive/sqlite/**/*.test.ts",
  "test/engine/startup/EmbeddedFiles.test.ts",
  "test/shared/files/**/*.test.ts",
  "test/shared/WorkerChannel.test.ts"
]

export default defineConfig({
  test: {
    // Worker threads and child processes run the compiled package, so every run compiles first.
    globalSetup: ["test/support/compile.ts"],
    // `npm test` runs the projects without servers with --no-isolate: loading the modules anew for each file would cost
    // more than most files' tests, and no test replaces a module. Those with servers count their process's sockets; they
    // mostly wait for other processes, so one more of them runs than there are cores.
    maxWorkers: "100%",
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/**/*.test.ts", "examples/**/*.test.ts"],
          exclude: [
            ...files,
            ...sockets,
            "test/integration/**",
            "test/process/**",
            "test/simulation/**",
            "test/models/**"
          ],
          // Under the test's clock they mostly wait for the event loop: side by side, they share the waiting.
          sequence: { concurrent: true },
          // Most take milliseconds; the bound is for busy machines.
          testTimeout: 120_000
        }
      },
      {
        test: {
          name: "files",
          include: files,
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
