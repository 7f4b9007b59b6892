/** From what a caller submits to a record with a version: validation and versioning, synchronous. */

import { createHash } from "node:crypto"
import { Effect } from "effect"
import type { WriteError } from "../../EngineError.js"
import { InvalidItem, PayloadTooLarge, VersionConflict } from "../../EngineError.js"
import type { SubmitItem } from "../../SyncEngineModels.js"
import type { ContentType, ItemRecord } from "../../SyncItem.js"
import {
  bytesOf,
  contentHashOf,
  detectContentType,
  idProblem,
  isJson,
  maxDetectedJsonBytes,
  sameVersion,
  stateProblem,
  tombstone,
  traceparentProblem,
  versionProblem
} from "../../SyncItem.js"
import { copyOfContent, keptContent } from "../../shared/ContentCopies.js"
import { nameOf } from "../../shared/NameOf.js"
import { JsonText } from "../../shared/ndjson/JsonText.js"
import { maxOwnVersion } from "../../shared/OwnVersions.js"
import { yieldToEventLoop } from "../../shared/YieldToEventLoop.js"
import { encodedBytes } from "../../wal/SegmentWriter.js"
import type { EngineState } from "../state/EngineState.js"
import type { Prepared } from "../state/InFlightWrites.js"
import { newestOf } from "../state/KnownVersions.js"
import type { Asked } from "./VersionComparison.js"

export const invalid = (id: unknown, field: string, problem: string): InvalidItem =>
  new InvalidItem({ id: nameOf(id), field, problem })

/** An item that a caller hands in, read once: getters may throw, or say something else the next time. */
export const readOnce = (items: ReadonlyArray<SubmitItem>, index: number): SubmitItem | InvalidItem => {
  try {
    const item = items[index]
    if (typeof item !== "object" || item === null) return invalid("", "item", "must be an object")
    const { content, contentType, id, state, traceparent, version } = item
    // Copied: whoever writes into its bytes later changes neither what was hashed nor what memory returns.
    const own = content instanceof Uint8Array && content.byteLength > 0 ? copyOfContent(content) : content
    return { id, content: own, contentType, state, traceparent, version }
  } catch (cause) {
    return invalid("", "item", unreadable(cause))
  }
}

/** What is wrong when a getter of the caller's has thrown. */
export const unreadable = (cause: unknown): string =>
  `could not be read: ${cause instanceof Error ? cause.message : "a getter threw"}`

/** The bound on one item's content: the configured one, and what the archive can carry. */
const sizeProblem = (core: EngineState, id: string, bytes: number): PayloadTooLarge | undefined => {
  const { maxPayloadBytes } = core.config()
  const { maxContentBytes = Number.POSITIVE_INFINITY } = core.tiers?.archive ?? {}
  if (bytes <= maxPayloadBytes && bytes <= maxContentBytes) return undefined
  const [maxBytes, limit] =
    bytes > maxPayloadBytes
      ? [maxPayloadBytes, "MAX_PAYLOAD_BYTES"]
      : [maxContentBytes, "the archive's packet size"]
  return new PayloadTooLarge({ id, bytes, maxBytes, limit })
}

/** An entry's bytes beside its content are fewer. */
const mostOverhead = 512

/** What would not fit even an empty log: no waiting helps. */
const logProblem = (core: EngineState, record: ItemRecord): PayloadTooLarge | undefined => {
  const bytes = record.content.byteLength
  if (bytes + mostOverhead <= core.logMaxBytes) return undefined
  const overhead = encodedBytes(record) - bytes
  return bytes + overhead <= core.logMaxBytes
    ? undefined
    : new PayloadTooLarge({
        id: record.id,
        bytes,
        maxBytes: core.logMaxBytes - overhead,
        limit: "WAL_MAX_BYTES"
      })
}

const ownProblem = `is above ${maxOwnVersion}, the highest own version; what is above is the engine's`

/** A record before its version is known. */
type Unversioned = { -readonly [Field in keyof ItemRecord]: ItemRecord[Field] }

/** Assigns the version, or checks the caller's own one against what is known. */
const versioned = (
  core: EngineState,
  record: Unversioned,
  own: number | undefined,
  asked: Asked | undefined
): Prepared | WriteError => {
  const { id } = record
  const here = core.versions.newest(id)
  const known = newestOf(asked?.head, here)
  const previousVersion = known === undefined || known.deleted ? undefined : known.version
  let compared: boolean
  if (own === undefined) {
    const version = core.clock.next(known?.version)
    if (version === undefined) {
      const problem = `${known?.version} is the highest possible one; nothing newer can be written`
      return invalid(id, "version", problem)
    }
    record.version = version
    compared = known !== undefined || asked !== undefined || core.writer.isCertain()
  } else {
    const problem = versionProblem(own) ?? (own > maxOwnVersion ? ownProblem : undefined)
    if (problem !== undefined) return invalid(id, "version", problem)
    record.version = own
    if (known !== undefined && own <= known.version && !sameVersion(record, known)) {
      return new VersionConflict({ id, submitted: own, current: known.version })
    }
    core.clock.observe(own)
    const isKnown = here !== undefined && !core.versions.isUnchecked(here)
    compared =
      asked === undefined || asked.byFilter === true
        ? isKnown && core.writer.isCertain()
        : (!asked.watch.dirty && !core.letters.isInDoubt(id)) || isKnown
  }
  return {
    _tag: "Prepared",
    record,
    previousVersion,
    unchecked: own !== undefined && !compared,
    final: own !== undefined,
    expected: undefined,
    compared
  }
}

/** A refusal as readers may know of it. None: only a write on its way, which may fail yet, is newer. */
export const shownConflict = (
  core: EngineState,
  { id, submitted }: VersionConflict,
  asked: Asked | undefined
): VersionConflict | undefined => {
  const current = newestOf(asked?.head, core.versions.shown(id))?.version ?? 0
  return current > submitted || core.inFlight.newest(id) === undefined
    ? new VersionConflict({ id, submitted, current })
    : undefined
}

/**
 * Validates an item (as {@link readOnce} has read it) and gives it a version.
 *
 * @param asked what the archive has just said about the id, if it was asked
 * @param examined what was found out about its content before, in pieces, because it is large
 */
export const prepare = (
  core: EngineState,
  item: SubmitItem | InvalidItem,
  asked?: Asked,
  examined?: Examined
): Prepared | WriteError => {
  if ("_tag" in item) return item
  const { id } = item
  const idTrouble = idProblem(id)
  if (idTrouble !== undefined) return invalid(id, "id", idTrouble)
  const bytes = bytesOf(item.content)
  if (typeof bytes === "string") return invalid(id, "content", bytes)
  // A caller's bytes were copied as they were read.
  const content = typeof item.content === "string" ? keptContent(bytes) : bytes
  const tooLarge = sizeProblem(core, id, content.byteLength)
  if (tooLarge !== undefined) return tooLarge
  const stateTrouble = item.state === undefined ? undefined : stateProblem(item.state)
  if (stateTrouble !== undefined) return invalid(id, "state", stateTrouble)
  const trouble = item.traceparent === undefined ? undefined : traceparentProblem(item.traceparent)
  if (trouble !== undefined) return invalid(id, "traceparent", trouble)
  const known = examined?.content === content ? examined : undefined
  let contentType: ContentType
  if (item.contentType === undefined) {
    contentType = known === undefined ? detectContentType(content) : known.json ? "json" : "binary"
  } else if (item.contentType === "binary") contentType = "binary"
  else if (item.contentType !== "json") return invalid(id, "contentType", 'must be "json" or "binary"')
  else if (known?.json ?? isJson(content)) contentType = "json"
  else return invalid(id, "content", "is not one valid JSON text in UTF-8, as contentType says")
  const record: Unversioned = {
    id,
    version: 0,
    updatedAt: core.nowMs(),
    contentType,
    contentHash: known?.contentHash ?? contentHashOf(content),
    state: item.state,
    content,
    traceparent: item.traceparent,
    deleted: false
  }
  const write = versioned(core, record, item.version, asked)
  return write._tag === "Prepared" ? (logProblem(core, write.record) ?? write) : write
}

/** Validates a deletion and gives its tombstone a version. */
export const prepareDelete = (
  core: EngineState,
  id: string,
  own: number | undefined,
  traceparent: string | undefined,
  asked?: Asked
): Prepared | WriteError => {
  const problem = idProblem(id)
  if (problem !== undefined) return invalid(id, "id", problem)
  const trouble = traceparent === undefined ? undefined : traceparentProblem(traceparent)
  if (trouble !== undefined) return invalid(id, "traceparent", trouble)
  return versioned(core, tombstone(id, 0, core.nowMs(), traceparent), own, asked)
}

/** What has to be known of a large content before it is written. */
export interface Examined {
  /** Of these bytes, and no others. */
  readonly content: Uint8Array
  readonly contentHash: string
  /** Whether they are one JSON text; false too where nobody asks. */
  readonly json: boolean
}

/** Finds it out in pieces: a turn of the event loop is bounded by `bytesPerTurn`, whatever the size. */
export const examine = (
  content: Uint8Array,
  contentType: ContentType | undefined,
  bytesPerTurn: number
): Effect.Effect<Examined> =>
  Effect.gen(function* () {
    const asked =
      contentType === "json" || (contentType === undefined && content.length <= maxDetectedJsonBytes)
    const text = asked ? JsonText.of(content) : undefined
    const hash = createHash("sha256")
    let json = text !== undefined
    for (let at = 0; at < content.length; at += bytesPerTurn) {
      yield* yieldToEventLoop
      const end = Math.min(content.length, at + bytesPerTurn)
      hash.update(content.subarray(at, end))
      json = json && text?.check(at, end) === true
    }
    return { content, contentHash: hash.digest("hex"), json: json && text?.isWhole === true }
  })
