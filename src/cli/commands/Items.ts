/** `put`, `get`, `delete`, `scan`: single items and ranges of them. */
import * as Args from "@effect/cli/Args"
import * as Options from "@effect/cli/Options"
import * as FileSystem from "@effect/platform/FileSystem"
import { Chunk, Effect, Option, Stream } from "effect"
import { receiptBody } from "../../http/api/Encode.js"
import { bytesOf, type SyncItem } from "../../SyncItem.js"
import { type CliError, failed, type OutputClosed, usage } from "../app/CliError.js"
import * as Connection from "../backend/Connection.js"
import { ingestLine, itemJson, pairs } from "../io/Render.js"
import { Stdio } from "../io/Stdio.js"
import { define } from "../parser/CliCommand.js"
import * as Common from "./Common.js"

/** What one `put` reads at most; the engine's own bound (`MAX_PAYLOAD_BYTES`) is usually lower. */
const maxContentBytes = 1024 * 1024 * 1024

const stateOption = (description: string) =>
  Options.text("state").pipe(Options.withDescription(description), Options.optional)

const ifVersion = Options.text("if-version").pipe(
  Options.withDescription(
    "Only if this is the current version; 0 for `only if there is none`. Default: always."
  ),
  Options.optional
)

const noItem = (id: string): CliError => failed(`no item ${JSON.stringify(id)}`)

/** All bytes of a stream, as long as they stay below the bound. */
const collect = (stream: Stream.Stream<Uint8Array, CliError>): Effect.Effect<Uint8Array, CliError> =>
  Effect.suspend(() => {
    const parts: Array<Uint8Array> = []
    let length = 0
    return Stream.runForEach(stream, (part) => {
      length += part.length
      parts.push(part)
      return length > maxContentBytes
        ? Effect.fail(failed(`the content has more than ${maxContentBytes} bytes`))
        : Effect.void
    }).pipe(Effect.map(() => new Uint8Array(Buffer.concat(parts, length))))
  })

const readContent = (file: Option.Option<string>, content: Option.Option<string>) =>
  Effect.gen(function* () {
    if (Option.isSome(content)) {
      if (Option.isSome(file)) return yield* usage("give either FILE or --content, not both")
      const bytes = bytesOf(content.value)
      return typeof bytes === "string" ? yield* usage(`option --content: ${bytes}`) : bytes
    }
    const stdio = yield* Stdio
    const path = Option.getOrUndefined(file)
    if (path !== undefined && path !== "-") {
      const files = yield* FileSystem.FileSystem
      return yield* collect(
        Stream.mapError(files.stream(path), (error) => failed(`${path}: ${error.message}`))
      )
    }
    if (path === undefined && stdio.stdinIsTerminal) {
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
    file: Args.text({ name: "file" }).pipe(
      Args.withDescription(
        "File with the content; - for standard input. Default: standard input when it is piped."
      ),
      Args.optional
    ),
    content: Options.text("content").pipe(
      Options.withDescription("The content itself, as text."),
      Options.optional
    ),
    state: stateOption("State tag, 1 to 64 bytes. Default: none."),
    version: Options.text("version-number").pipe(
      Options.withDescription(
        "Own version; must be newer than the stored one. Default: assigned by the engine."
      ),
      Options.optional
    ),
    ifVersion,
    type: Options.choice("type", ["json", "binary"]).pipe(
      Options.withDescription("Content type; json is refused unless the bytes are JSON. Default: detected."),
      Options.optional
    ),
    durability: Common.durability,
    json: Common.json,
    ...Connection.options
  },
  handler: (input) =>
    Effect.gen(function* () {
      const state = yield* Common.acceptState(input.state)
      const version = yield* Common.acceptVersion("--version-number", input.version)
      const expectedVersion = yield* Common.acceptWhole(
        "--if-version",
        input.ifVersion,
        0,
        Number.MAX_SAFE_INTEGER
      )
      const content = yield* readContent(input.file, input.content)
      const receipt = yield* Common.withBackend(input, (backend) =>
        backend.submit(
          { id: input.id, content, version, state, contentType: Common.orUndefined(input.type) },
          { durability: Common.orUndefined(input.durability), expectedVersion }
        )
      )
      yield* input.json
        ? Common.printJson(receiptBody(receipt))
        : Common.print(
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
  handler: (input) =>
    Common.withBackend(input, (backend) =>
      Effect.flatMap(backend.get(input.id), (found) =>
        Option.match(found, {
          onNone: () => Effect.fail<CliError | OutputClosed>(noItem(input.id)),
          onSome: (item: SyncItem): Effect.Effect<void, CliError | OutputClosed, Stdio> =>
            Common.print(input.json ? `${itemJson(item)}\n` : item.content)
        })
      )
    )
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
    ids: Common.id.pipe(Args.atLeast(1)),
    ifVersion,
    durability: Common.durability,
    json: Common.json,
    ...Connection.options
  },
  handler: (input) =>
    Effect.gen(function* () {
      const expectedVersion = yield* Common.acceptWhole(
        "--if-version",
        input.ifVersion,
        0,
        Number.MAX_SAFE_INTEGER
      )
      if (expectedVersion !== undefined && input.ids.length > 1) {
        return yield* usage("--if-version speaks of one item; delete them one by one")
      }
      const durability = Common.orUndefined(input.durability)
      yield* Common.withBackend(input, (backend) =>
        Effect.forEach(
          input.ids,
          (id) =>
            Effect.flatMap(backend.delete(id, { durability, expectedVersion }), (version) =>
              input.json
                ? Common.printJson({ id, version: Option.getOrNull(version) })
                : Common.print(`deleted ${id}\n`)
            ),
          { discard: true }
        )
      )
    })
})

const stateWidth = 12

const scanText = (item: SyncItem): string =>
  `${String(item.version).padEnd(17)}${String(item.content.length).padStart(10)}  ${(item.state ?? "-").padEnd(stateWidth)}  ${item.id}\n`

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
    prefix: Common.prefix,
    state: stateOption("Only items with this state tag. Default: all."),
    ids: Options.boolean("ids").pipe(Options.withDescription("Print ids only, one per line.")),
    limit: Options.text("limit").pipe(
      Options.withDescription("Stop after this many items. Default: no limit."),
      Options.optional
    ),
    json: Common.json,
    ...Connection.options
  },
  handler: (input) =>
    Effect.gen(function* () {
      const state = yield* Common.acceptState(input.state)
      const limit = yield* Common.acceptWhole("--limit", input.limit, 1, Number.MAX_SAFE_INTEGER)
      if (input.ids && input.json) return yield* usage("give either --ids or --json, not both")
      const line = input.ids
        ? (item: SyncItem) => `${item.id}\n`
        : input.json
          ? (item: SyncItem) => `${ingestLine(item)}\n`
          : scanText
      yield* Common.withBackend(input, (backend) =>
        backend
          .scan({ prefix: input.prefix, state, limit })
          .pipe(
            Stream.runForEachChunk((items) => Common.print(Chunk.toReadonlyArray(items).map(line).join("")))
          )
      )
    })
})
