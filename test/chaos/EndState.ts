/** What has to hold when all faults are over: every tier says the same, and what it says is put into the history. */
import { Effect, Redacted } from "effect"
import type { RowDataPacket } from "mysql2"
import * as MysqlArchive from "../../src/archive/mysql/MysqlArchive.js"
import { recordIn } from "../../src/cache/ItemValue.js"
import { recompute } from "../support/recompute.js"
import { allIds, callIn, now } from "./Common.js"
import type { HistoryRecord } from "./History.js"
import type { World } from "./World.js"

interface Row {
  readonly version: number
  readonly deleted: boolean
  readonly content: string
}

const rowsOf = async (world: World): Promise<ReadonlyMap<string, Row>> => {
  const connection = await world.admin()
  const [rows] = await connection.query<Array<RowDataPacket>>(
    "SELECT CONVERT(id USING utf8mb4) AS id, version, deleted, content FROM chaos.items"
  )
  await connection.end()
  return new Map(
    rows.map(({ content, deleted, id, version }) => [
      String(id),
      { version: Number(version), deleted: deleted === 1, content: String(content) }
    ])
  )
}

/** Each value in Redis is the row of its id, and each live row has one. */
const compareRedis = async (world: World, rows: ReadonlyMap<string, Row>): Promise<ReadonlyArray<string>> => {
  const redis = await world.cache.client()
  const problems: Array<string> = []
  const { prefix } = world.cache
  const keys = await redis.keys(`${prefix}*`)
  for (const key of keys) {
    const id = key.slice(prefix.length)
    if (!rows.has(id)) problems.push(`Redis has ${id}, and SQL has not`)
  }
  for (const [id, row] of rows) {
    const value = await redis.getBuffer(prefix + id)
    if (value === null) {
      if (!row.deleted) problems.push(`Redis has no value of ${id}, SQL has version ${row.version}`)
      continue
    }
    const held = recordIn(id, value)?.record
    // Of deletions the cache remembers one that is old enough to guard; it is not told of each.
    const same = held?.deleted === row.deleted && (row.deleted || held.version === row.version)
    if (!same || (!row.deleted && Buffer.from(held.content).toString() !== row.content)) {
      const found =
        held === undefined ? "a damaged value" : `version ${held.version}${held.deleted ? ", deleted" : ""}`
      problems.push(
        `Redis has ${found} of ${id}, SQL has version ${row.version}${row.deleted ? ", deleted" : ""}`
      )
    }
  }
  redis.disconnect()
  return problems
}

const compareRoot = (world: World): Promise<ReadonlyArray<string>> =>
  Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const archive = yield* MysqlArchive.make({ url: Redacted.make(world.sqlUrl) })
        const stored = yield* archive.root
        const { root, rows } = yield* recompute(archive)
        return root === stored ? [] : [`the root is ${stored}, its ${rows} rows give ${root}`]
      })
    )
  )

interface Verified {
  readonly in_sync: boolean
  readonly complete: boolean
}

/** What the engine itself finds wrong. */
const verify = async ({ node }: World): Promise<ReadonlyArray<string>> => {
  const answer = await node.ask("POST", "/admin/verify", {
    rows: true,
    roots: true,
    contents: true,
    values: "full"
  })
  const result = answer?.status === 200 ? (JSON.parse(answer.text) as Verified) : undefined
  return result?.in_sync === true && result.complete ? [] : [`verify: ${answer?.text ?? "no answer"}`]
}

const deadLetters = async ({ node }: World): Promise<ReadonlyArray<string>> => {
  const answer = await node.ask("GET", "/admin/dead-letters?limit=100")
  const { dead_letters } = JSON.parse(answer?.text ?? '{"dead_letters":["no answer"]}') as {
    readonly dead_letters: ReadonlyArray<unknown>
  }
  return dead_letters.map((letter) => `a dead letter: ${JSON.stringify(letter)}`)
}

/** An id, as the daemon and as SQL have it. */
const readOne = async (
  { node }: World,
  id: string,
  row: Row | undefined,
  note: (record: HistoryRecord) => void
): Promise<ReadonlyArray<string>> => {
  const start = now()
  const answer = await node.ask("GET", `/items/${id}`)
  const end = now()
  if (answer?.status !== 200 && answer?.status !== 404) {
    return [`${id} cannot be read after everything: ${answer?.status} ${answer?.text}`]
  }
  const found = answer.status === 200
  const live = row === undefined || row.deleted ? undefined : row
  const seen = (version: number, content: string | undefined) => {
    const call = content === undefined ? undefined : callIn(content)
    return { kind: "read", id, start, end, version, ...(call === undefined ? {} : { call }) } as const
  }
  note({ ...seen(found ? answer.version : 0, found ? answer.text : undefined), node: 0 })
  note({ ...seen(live?.version ?? 0, live?.content), from: "SQL" })
  return []
}

const readAll = async (
  world: World,
  rows: ReadonlyMap<string, Row>,
  note: (record: HistoryRecord) => void,
  ids = allIds
): Promise<ReadonlyArray<string>> => {
  const problems: Array<string> = []
  for (let at = 0; at < ids.length; at += 50) {
    const some = ids.slice(at, at + 50).map((id) => readOne(world, id, rows.get(id), note))
    problems.push(...(await Promise.all(some)).flat())
  }
  return problems
}

const stop = async ({ node }: World): Promise<ReadonlyArray<string>> => {
  const { code, log, report } = await node.stop()
  return code === 0 && report?.clean === true && report.items_left_in_log === 0
    ? []
    : [`the shutdown ended with ${code}: ${JSON.stringify(report)}\n${log.slice(-2_000)}`]
}

/** All faults are over and nobody writes any more. Returns what is wrong. */
export const endState = async (
  world: World,
  note: (record: HistoryRecord) => void,
  say: (line: string) => void
): Promise<ReadonlyArray<string>> => {
  const from = now()
  const unrested = await world.node.rest(120_000)
  say(`everything is archived, and the cache trusted, ${Math.round(now() - from)} ms after the last fault`)
  if (unrested !== undefined)
    return [`it does not come to rest: ${unrested}\n${world.node.log.slice(-3_000)}`]
  const rows = await rowsOf(world)
  const problems = [
    ...(await deadLetters(world)),
    ...(await compareRoot(world)),
    ...(await compareRedis(world, rows)),
    ...(await verify(world)),
    ...(await readAll(world, rows, note)),
    ...(await stop(world))
  ]
  world.node.start()
  const again = await world.node.rest(60_000)
  if (again !== undefined)
    return [...problems, `it does not start again: ${again}\n${world.node.log.slice(-3_000)}`]
  const some = allIds.filter((_, n) => n % 10 === 0)
  problems.push(...(await readAll(world, rows, note, some)), ...(await stop(world)))
  say(`the end state took ${Math.round(now() - from)} ms`)
  return problems
}
