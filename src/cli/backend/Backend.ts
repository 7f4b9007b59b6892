/** What a command works against: a running daemon over HTTP, or an engine opened in this process. */
import type { Effect, Option, Stream } from "effect"
import type { EngineError } from "../../EngineError.js"
import type * as S from "../../http/api/ApiSchemas.js"
import type { BatchItem } from "../../http/client/HttpClient.js"
import type { MerkleSource } from "../../merkle/Source.js"
import type { Digest } from "../../merkle/Tree.js"
import type {
  DeleteOptions,
  Durability,
  Receipt,
  SubmitItem,
  SubmitOptions,
  SubmitResult
} from "../../SyncEngine.js"
import type { SyncItem } from "../../SyncItem.js"
import type { CliError } from "../app/CliError.js"

/** What a call can fail with. */
export type BackendError = EngineError | CliError

// What is shown, as it travels.
export type DeadLetterRow = typeof S.DeadLetterBody.Encoded
export type ReportDocument = typeof S.ShutdownBody.Encoded
export type VerifyDocument = typeof S.VerifyBody.Encoded
export type RepairDocument = typeof S.RepairBody.Encoded
export type CheckOptions = typeof S.VerifyRequest.Encoded

export interface Backend {
  /** For messages: the daemon's address, or the data directory. */
  readonly where: string
  readonly submitMany: (
    items: ReadonlyArray<BatchItem>,
    durability: Durability | undefined
  ) => Effect.Effect<ReadonlyArray<SubmitResult>, BackendError>
  readonly submit: (item: SubmitItem, options: SubmitOptions) => Effect.Effect<Receipt, BackendError>
  readonly get: (id: string) => Effect.Effect<Option.Option<SyncItem>, BackendError>
  /** The version of the tombstone, where it is told. */
  readonly delete: (id: string, options: DeleteOptions) => Effect.Effect<Option.Option<number>, BackendError>
  readonly scan: (range: {
    readonly prefix: string
    readonly state: string | undefined
    readonly limit: number | undefined
  }) => Stream.Stream<SyncItem, BackendError>
  readonly status: Effect.Effect<typeof S.StatusBody.Encoded, BackendError>
  readonly verify: (options: CheckOptions) => Effect.Effect<VerifyDocument, BackendError>
  readonly repair: (options: CheckOptions) => Effect.Effect<RepairDocument, BackendError>
  /** The archived tree, for comparisons. */
  readonly merkleSource: MerkleSource<BackendError>
  readonly flush: Effect.Effect<typeof S.FlushBody.Encoded, BackendError>
  readonly root: Effect.Effect<Digest, BackendError>
  readonly drain: Effect.Effect<boolean, BackendError>
  readonly shutdown: Effect.Effect<ReportDocument, BackendError>
  readonly deadLetters: {
    /** By ascending sequence number, read in pages. */
    readonly list: Stream.Stream<DeadLetterRow, BackendError>
    /** Without sequence numbers: all. */
    readonly retry: (sequences: ReadonlyArray<number> | undefined) => Effect.Effect<number, BackendError>
    readonly drop: (sequences: ReadonlyArray<number> | undefined) => Effect.Effect<number, BackendError>
  }
}

/** Whether the id is the prefix itself or lies below it. */
export const isBelow = (id: string, prefix: string): boolean =>
  prefix === "" || id === prefix || id.startsWith(`${prefix}.`)
