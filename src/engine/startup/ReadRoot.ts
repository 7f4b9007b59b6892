/** Phase 4: the root that the archive vouches for; what else is to be trusted is compared with it. */
import { Context, Data, Effect, Option } from "effect"
import type { Digest } from "../../merkle/Tree.js"
import { ArchiveConnected } from "./ConnectArchive.js"
import { phase } from "./Phase.js"

/** None without an archive, or when it could not be read. */
export class TrustedRoot extends Context.Tag("effect-sync-engine/startup/TrustedRoot")<
  TrustedRoot,
  Option.Option<Digest>
>() {}

export class RootUnreadable extends Data.TaggedError("RootUnreadable")<{ readonly problem: string }> {}

export const readRoot = Effect.gen(function* () {
  const archive = yield* ArchiveConnected
  if (Option.isNone(archive)) return Option.none<Digest>()
  const root = yield* Effect.mapError(
    archive.value.root,
    ({ message }) => new RootUnreadable({ problem: message })
  )
  return Option.some(root)
}).pipe(phase("DrainingWal", "sql_root"))
