/** `put`, `get`, `delete`, `scan`: single items and ranges of them. */
import { createReadStream } from "node:fs"
import { Chunk, Effect, Option, Stream } from "effect"
import { receiptBody } from "../../http/api/ApiSchemas.js"
import { bytesOf, prefixProblem, type SyncItem } from "../../SyncItem.js"
import { maxOwnVersion } from "../../shared/OwnVersions.js"
import { type CliError, failed, usage } from "../app/CliError.js"
import * as Connection from "../backend/Connection.js"
import { ingestLine, itemJson, pairs } from "../io/Render.js"
import { bytesFrom, Stdio } from "../io/Stdio.js"
import {
  anyText,
  argument,
  choice,
  define,
  option,
  optional,
  repeated,
  toggle,
  unless
} from "../parser/Command.js"
import * as Common from "./Common.js"

/** What one `put` reads at most; the engine's own bound (`MAX_PAYLOAD_BYTES`) is usually lower. */
const maxContentBytes = 1024 * 1024 * 1024

const ifVersion = Common.number(
  "if-version",
  [0],
  "Only if this is the current version; 0 for `only if there is none`. Default: always."
)

/** All bytes of a stream, as long as they stay below the bound. */
const collect = Effect.fnUntraced(function* (stream: Stream.Stream<Uint8Array, CliError>) {
  const parts: Array<Uint8Array> = []
  let length = 0
  yield* Stream.runForEach(stream, (part) => {
    length += part.length
    parts.push(part)
    return length > maxContentBytes
      ? failed(`the content has more than ${maxContentBytes} bytes`)
      : Effect.void
  })
  return new Uint8Array(Buffer.concat(parts, length))
})

const readContent = Effect.fnUntraced(function* (file: string | undefined, content: string | undefined) {
  if (content !== undefined) {
    if (file !== undefined) return yield* usage("give either FILE or --content, not both")
    const bytes = bytesOf(content)
    return typeof bytes === "string" ? yield* usage(`option --content: ${bytes}`) : bytes
  }
  const stdio = yield* Stdio
  if (file !== undefined && file !== "-") {
    return yield* collect(bytesFrom(() => createReadStream(file), file))
  }
  if (file === undefined && stdio.stdinIsTerminal) {
    return yield* usage(
      "no content: name a FILE, pass --content, or pipe it in",
      "see `sync-engine put --help`"
    )
  }
  return yield* collect(stdio.stdin)
})

export const put = define({
  name: "put",
  description: "Write one item. The bytes are stored exactly as they come.",
  examples: [
    ["sync-engine put config.theme --content '{\"dark\": true}'", "A short JSON content."],
    ["sync-engine put docs.logo logo.png", "The bytes of a file."],
    ["sync-engine get a | sync-engine put b -", "Copy one item's content to another."],
    ["sync-engine put config.theme new.json --if-version 1764000000000000", "Only if nobody wrote meanwhile."]
  ],
  config: {
    id: Common.id,
    file: optional(
      argument(
        "file",
        "File with the content; - for standard input. Default: standard input when it is piped.",
        anyText
      )
    ),
    content: option("content", "The content itself, as text."),
    state: Common.state("State tag, 1 to 64 bytes. Default: none."),
    version: Common.number(
      "version-number",
      [1, maxOwnVersion],
      "Own version; must be newer than the stored one. Default: assigned by the engine."
    ),
    expectedVersion: ifVersion,
    contentType: choice(
      "type",
      ["json", "binary"],
      "Content type; json is refused unless the bytes are JSON. Default: detected."
    ),
    durability: Common.durability,
    json: Common.json,
    ...Connection.options
  },
  handler: Effect.fnUntraced(function* (input) {
    const { contentType, durability, expectedVersion, id, state, version } = input
    const content = yield* readContent(input.file, input.content)
    const receipt = yield* Common.withBackend(input, (backend) =>
      backend.submit({ id, content, version, state, contentType }, { durability, expectedVersion })
    )
    yield* Common.show(
      input,
      receiptBody(receipt),
      pairs([
        ["id", receipt.id],
        ["version", receipt.version],
        ["hash", receipt.contentHash],
        ["durability", receipt.durability],
        ["compared", receipt.compared ? "yes" : "no: it may lose against a newer version"]
      ])
    )
  })
})

export const get = define({
  name: "get",
  description: "Read one item: its exact bytes on standard output. Exit code 1 when there is none.",
  examples: [
    ["sync-engine get config.theme", "The content, byte for byte, nothing added."],
    ["sync-engine get config.theme --json", "One line of JSON with version, hash, state and content."]
  ],
  config: { id: Common.id, json: Common.json, ...Connection.options },
  handler: Effect.fnUntraced(function* (input) {
    const found = yield* Common.withBackend(input, (backend) => backend.get(input.id))
    if (Option.isNone(found)) return yield* failed(`no item ${JSON.stringify(input.id)}`)
    yield* Common.print(input.json ? `${itemJson(found.value)}\n` : found.value.content)
  })
})

export const remove = define({
  name: "delete",
  description: "Delete items. Deleting an absent item is not an error.",
  examples: [
    ["sync-engine delete config.theme", "One item."],
    ["sync-engine delete config.theme --if-version 1764000000000000", "Only if nobody wrote meanwhile."],
    ["sync-engine scan tmp --ids | xargs sync-engine delete", "Everything below a prefix."]
  ],
  config: {
    ids: repeated(Common.id, 1),
    expectedVersion: ifVersion,
    durability: Common.durability,
    json: Common.json,
    ...Connection.options
  },
  handler: Effect.fnUntraced(function* (input) {
    const { durability, expectedVersion, ids } = input
    if (expectedVersion !== undefined && ids.length > 1) {
      return yield* usage("--if-version speaks of one item; delete them one by one")
    }
    yield* Common.withBackend(
      input,
      Effect.fnUntraced(function* (backend) {
        for (const id of ids) {
          const version = yield* backend.delete(id, { durability, expectedVersion })
          yield* Common.show(input, { id, version: Option.getOrNull(version) }, `deleted ${id}\n`)
        }
      })
    )
  })
})

const scanText = ({ content, id, state = "-", version }: SyncItem): string =>
  `${String(version).padEnd(17)}${String(content.length).padStart(10)}  ${state.padEnd(12)}  ${id}\n`

export const scan = define({
  name: "scan",
  description:
    "List items by ascending id: version, bytes, state, id. With --json, lines that `sync-engine ingest` reads again.",
  examples: [
    ["sync-engine scan geo.fr", "The item geo.fr and everything below it."],
    ["sync-engine scan --state new --ids", "The ids of all items in a state."],
    ["sync-engine scan --json > items.ndjson", "Everything, ready to be ingested elsewhere."],
    ["sync-engine scan geo --limit 10", "The first ten."]
  ],
  config: {
    prefix: optional(
      argument(
        "prefix",
        "The item with this id and everything below it. Default: everything.",
        unless(prefixProblem)
      )
    ),
    state: Common.state("Only items with this state tag. Default: all."),
    ids: toggle("ids", "Print ids only, one per line."),
    limit: Common.number("limit", [1], "Stop after this many items. Default: no limit."),
    json: Common.json,
    ...Connection.options
  },
  handler: Effect.fnUntraced(function* (input) {
    const { ids, json, limit, prefix = "", state } = input
    if (ids && json) return yield* usage("give either --ids or --json, not both")
    const line = ids
      ? (item: SyncItem) => `${item.id}\n`
      : json
        ? (item: SyncItem) => `${ingestLine(item)}\n`
        : scanText
    yield* Common.withBackend(input, (backend) =>
      Stream.runForEachChunk(backend.scan({ prefix, state, limit }), (items) =>
        Common.print(Chunk.toReadonlyArray(items).map(line).join(""))
      )
    )
  })
})
