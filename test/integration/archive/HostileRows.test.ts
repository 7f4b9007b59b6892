import { describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { inject } from "vitest"
import * as MysqlArchive from "../../../src/archive/mysql/MysqlArchive.js"
import { rowDamages, tryDamage } from "../../archive/rowDamages.js"
import { startEngine, temporaryDirectory } from "../engine/support.js"
import { rawSql } from "../engine/tiers.js"
import { freshDatabase } from "./mysql.js"

describe("rows of the archive on MySQL that were changed by hand", () => {
  for (const damage of rowDamages) {
    it.scopedLive(damage.name, () =>
      Effect.gen(function* () {
        const url = yield* freshDatabase(inject("mysqlUrl"))
        const db = yield* rawSql(Redacted.value(url))
        yield* tryDamage(
          {
            dialect: "mysql",
            run: (sql) => db.unsafe(sql).unprepared,
            archive: MysqlArchive.make({ url }),
            engine: startEngine({
              dataDir: yield* temporaryDirectory,
              sql: Redacted.value(url),
              flushTimeout: 2_000,
              sqlStartTimeout: 3_000
            })
          },
          damage
        )
      })
    )
  }
})
