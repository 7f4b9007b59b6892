import { Effect } from "effect"
import { inject } from "vitest"
import * as MysqlArchive from "../../../src/archive/mysql/MysqlArchive.js"
import { describeArchive } from "../../archive/suite.js"
import { freshArchive } from "./mysql.js"

describeArchive(
  "MySQL archive",
  Effect.map(
    Effect.suspend(() => freshArchive(inject("mysqlUrl"))),
    ({ archive, url }) => ({
      archive,
      another: MysqlArchive.make({ url }),
      damage: (id: string) =>
        archive.client
          .unsafe(`UPDATE items SET updated_at = updated_at + 1 WHERE id = '${id}'`)
          .unprepared.pipe(Effect.asVoid, Effect.orDie)
    })
  ),
  { timeout: 60_000 }
)
