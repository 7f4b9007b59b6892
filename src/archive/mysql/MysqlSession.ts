/**
 * What a session of the server must be. A server's own settings are not believed: they may commit or end
 * transactions, cut results short, read ids in another character set. Each connection is set before it is used,
 * and then asked whether it is so.
 */
import { SqlError } from "@effect/sql/SqlError"
import { Effect } from "effect"

export interface SessionOptions {
  /** How long a statement may take; what the server then still works on, it ends by itself. */
  readonly answerTimeoutMs: number
}

/** The smallest `max_allowed_packet` that is taken: a list of 500 ids and a row have to fit. */
const leastPacket = 1024 * 1024

/** How long a statement waits for a row or a table that another transaction holds. */
const lockWaitSeconds = ({ answerTimeoutMs }: SessionOptions): number =>
  Math.max(1, Math.min(10, Math.floor(answerTimeoutMs / 2_000)))

/**
 * How long the server waits for the next statement before it ends the session. It bounds how long the transaction
 * of a machine that died keeps its locks.
 */
export const idleSeconds = ({ answerTimeoutMs }: SessionOptions): number =>
  Math.max(10, Math.min(30, Math.ceil(answerTimeoutMs / 1_000)))

// Name, what to write, what the server then shows. What a server does not have is left out.
const settings = (
  options: SessionOptions
): ReadonlyArray<readonly [name: string, text: string, shown: string]> => {
  const whole = (name: string, value: number | string) => [name, String(value), String(value)] as const
  const text = (name: string, value: string) => [name, `'${value}'`, value] as const
  const on = (name: string) => [name, "1", "ON"] as const
  const off = (name: string) => [name, "0", "OFF"] as const
  const answerSeconds = Math.ceil(options.answerTimeoutMs / 1_000)
  return [
    on("autocommit"),
    ["completion_type", "0", "NO_CHAIN"],
    // Without gap locks two nodes that insert neighbouring ids do not lock each other out.
    text("tx_isolation", "READ-COMMITTED"),
    text("transaction_isolation", "READ-COMMITTED"),
    off("tx_read_only"),
    off("transaction_read_only"),
    // Read committed cannot be written into a log of statements.
    text("binlog_format", "ROW"),
    // Strict, so that nothing is ever truncated in silence.
    text("sql_mode", "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"),
    whole("sql_select_limit", "18446744073709551615"),
    off("sql_safe_updates"),
    off("sql_auto_is_null"),
    on("foreign_key_checks"),
    on("unique_checks"),
    text("character_set_client", "utf8mb4"),
    text("character_set_connection", "utf8mb4"),
    text("character_set_results", "utf8mb4"),
    text("collation_connection", "utf8mb4_bin"),
    text("time_zone", "+00:00"),
    whole("innodb_lock_wait_timeout", lockWaitSeconds(options)),
    whole("lock_wait_timeout", lockWaitSeconds(options)),
    whole("wait_timeout", idleSeconds(options)),
    whole("net_read_timeout", idleSeconds(options)),
    whole("net_write_timeout", idleSeconds(options)),
    whole("max_statement_time", answerSeconds),
    whole("max_execution_time", answerSeconds * 1_000)
  ]
}

const asked = ["log_bin", "wsrep_on", "max_allowed_packet"]

const fits = (shown: string, wanted: string): boolean =>
  shown.toUpperCase() === wanted.toUpperCase() || (wanted !== "" && Number(shown) === Number(wanted))

/** What to write so that a setting gets the value that the server has shown. */
export const settingText = (name: string, shown: string): string => {
  if (/^\d+(\.\d+)?$/.test(shown)) return shown
  // Shown as an empty text where it is NULL.
  if (shown === "" && name === "character_set_results") return "NULL"
  return `'${shown.replace(/['\\]/g, "\\$&")}'`
}

/**
 * Sets a connection's session and checks it. Returns the size of its packets, and what it had before of what was
 * changed. Fails with what could not be set, and why.
 */
export const prepareSession = (
  ask: (text: string) => Effect.Effect<unknown, SqlError>,
  options: SessionOptions
): Effect.Effect<
  { readonly maxPacket: number; readonly changed: ReadonlyArray<readonly [name: string, shown: string]> },
  SqlError
> =>
  Effect.gen(function* () {
    const wanted = settings(options)
    const names = [...wanted.map(([name]) => name), ...asked]
    const show = Effect.map(
      ask(`SHOW SESSION VARIABLES WHERE Variable_name IN ('${names.join("','")}')`),
      (rows) =>
        new Map(
          (rows as ReadonlyArray<Record<string, unknown>>).map((row) => [
            String(row.Variable_name).toLowerCase(),
            String(row.Value)
          ])
        )
    )
    const set = (some: typeof wanted) =>
      ask(`SET ${some.map(([name, text]) => `SESSION ${name} = ${text}`).join()}`)

    // First what could cut short or refuse what the server is asked next.
    yield* ask(
      "SET SESSION sql_big_selects = 1, SESSION sql_select_limit = 18446744073709551615" +
        " /*M!, SESSION max_statement_time = 0 */"
    )
    const first = yield* show
    const wrong = wrongIn(first, wanted)
    if (wrong.length > 0) {
      const refusals = new Map<string, string>()
      yield* Effect.catchAll(set(wrong), () =>
        // One of them is refused: which one is seen when each is set by itself.
        Effect.forEach(
          wrong,
          (one) =>
            Effect.catchAll(set([one]), ({ cause }) =>
              Effect.sync(() => refusals.set(one[0], cause instanceof Error ? cause.message : String(cause)))
            ),
          { discard: true }
        )
      )
      const session = yield* show
      const still = wrongIn(session, wanted).map(([name, , value]) => {
        const why = refusals.get(name)
        return `${name} is ${session.get(name)} and has to be ${value}${why === undefined ? "" : ` (${why})`}`
      })
      if (still.length > 0) return yield* unfit(`the session cannot be set: ${still.join("; ")}`)
    }
    const maxPacket = Number(first.get("max_allowed_packet"))
    if (!(maxPacket >= leastPacket)) {
      return yield* unfit(`max_allowed_packet is ${maxPacket} and has to be at least ${leastPacket}`)
    }
    return { maxPacket, changed: wrong.map(([name]) => [name, first.get(name)!] as const) }
  })

const wrongIn = (session: ReadonlyMap<string, string>, wanted: ReturnType<typeof settings>) =>
  wanted.filter(([name, , value]) => {
    const shown = session.get(name)
    if (shown === undefined || fits(shown, value)) return false
    if (name !== "binlog_format") return true
    const logged = session.get("log_bin") === "ON" || session.get("wsrep_on") === "ON"
    return logged && shown === "STATEMENT"
  })

const unfit = (problem: string) => new SqlError({ cause: new Error(problem), message: problem })
