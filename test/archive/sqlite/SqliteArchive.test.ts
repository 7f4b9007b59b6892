import { FileSystem } from "@effect/platform"
import { NodeFileSystem } from "@effect/platform-node"
import { Effect } from "effect"
import * as SqliteArchive from "../../../src/archive/sqlite/SqliteArchive.js"
import { describeArchive } from "../suite.js"

describeArchive(
  "SQLite archive",
  Effect.gen(function* () {
    const files = yield* FileSystem.FileSystem
    const directory = yield* files.makeTempDirectoryScoped()
    const open = SqliteArchive.make({ path: `${directory}/archive.db` })
    const archive = yield* open
    const run = (text: string) =>
      Effect.orDie(
        Effect.scoped(Effect.flatMap(archive.client.reserve, (c) => c.executeUnprepared(text, [], undefined)))
      )
    return {
      archive,
      another: open,
      damage: (id: string) =>
        Effect.asVoid(run(`UPDATE items SET updated_at = updated_at + 1 WHERE id = '${id}'`))
    }
  }).pipe(Effect.provide(NodeFileSystem.layer))
)
