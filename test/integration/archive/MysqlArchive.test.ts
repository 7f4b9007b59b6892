import * as Effect from "effect/Effect"
import { inject } from "vitest"
import { describeArchive } from "../../archive/suite.js"
import { freshArchive } from "./mysql.js"

describeArchive(
  "MySQL archive",
  Effect.map(
    Effect.suspend(() => freshArchive(inject("mysqlUrl"))),
    ({ archive }) => ({
      archive,
      damage: (id: string) =>
        archive.client
          .unsafe(`UPDATE items SET updated_at = updated_at + 1 WHERE id = '${id}'`)
          .unprepared.pipe(Effect.asVoid, Effect.orDie)
    })
  ),
  { timeout: 60_000 }
)
