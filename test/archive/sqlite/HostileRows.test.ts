import { join } from "node:path"
import { describe, it } from "@effect/vitest"
import Database from "better-sqlite3"
import { Effect } from "effect"
import { startEngine, temporaryDirectory } from "../../integration/engine/support.js"
import { rowDamages, tryDamage } from "../rowDamages.js"
import { openInProcess } from "./inProcess.js"

describe("rows of the embedded archive that were changed by hand", () => {
  for (const damage of rowDamages) {
    it.scopedLive(damage.name, () =>
      Effect.gen(function* () {
        const dataDir = yield* temporaryDirectory
        const path = join(dataDir, "archive.db")
        yield* tryDamage(
          {
            dialect: "sqlite",
            run: (sql) =>
              Effect.sync(() => {
                const db = new Database(path)
                try {
                  db.exec(sql)
                } finally {
                  db.close()
                }
              }),
            archive: openInProcess(path),
            engine: startEngine({ dataDir, walPath: join(yield* temporaryDirectory, "wal.db") })
          },
          damage
        )
      })
    )
  }
})
