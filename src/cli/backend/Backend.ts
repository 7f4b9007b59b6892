/** What a command works against: a running daemon over HTTP, or an engine opened in this process. */
import type { Effect, Option, Stream } from "effect"
import type { EngineError } from "../../EngineError.js"
import type {
  DeadLetterBody,
  FlushBody,
  RepairBody,
  ShutdownBody,
  StatusBody,
  VerifyBody,
  VerifyRequest
} from "../../http/api/ApiSchemas.js"
import type { MerkleSource } from "../../merkle/Source.js"
import type { Digest } from "../../merkle/Tree.js"
import type { Durability, Receipt, SubmitItem, SubmitResult } from "../../SyncEngine.js"
import type { SyncItem } from "../../SyncItem.js"
import type { CliError } from "../app/CliError.js"
import type { IngestItem } from "../ingest/IngestLine.js"

/** What a call can fail with. */
export type BackendError = EngineError | CliError

export interface WriteOptions {
  readonly durability?: Durability | undefined
  /** Compare-and-set; 0 for "absent". */
  readonly expectedVersion?: number | undefined
}

/** A dead letter without its content. */
export type DeadLetterRow = typeof DeadLetterBody.Encoded

/** A shutdown report, as it travels. */
export type ReportDocument = typeof ShutdownBody.Encoded

/** What `verify` found, as it travels. */
export type VerifyDocument = typeof VerifyBody.Encoded

/** What `repair` did, as it travels. */
export type RepairDocument = typeof RepairBody.Encoded

/** What to verify or repair, as it travels. */
export type CheckOptions = typeof VerifyRequest.Encoded

/** What `status` shows, as it travels. */
export type StatusDocument = typeof StatusBody.Encoded

export interface Backend {
  /** For messages: the daemon's address, or the data directory. */
  readonly where: string
  readonly submitMany: (
    items: ReadonlyArray<IngestItem>,
    durability: Durability | undefined
  ) => Effect.Effect<ReadonlyArray<SubmitResult>, BackendError>
  readonly submit: (item: SubmitItem, options: WriteOptions) => Effect.Effect<Receipt, BackendError>
  readonly get: (id: string) => Effect.Effect<Option.Option<SyncItem>, BackendError>
  /** The version of the tombstone, where it is told. */
  readonly delete: (id: string, options: WriteOptions) => Effect.Effect<Option.Option<number>, BackendError>
  readonly scan: (range: {
    readonly prefix: string
    readonly state: string | undefined
    readonly limit: number | undefined
  }) => Stream.Stream<SyncItem, BackendError>
  readonly status: Effect.Effect<StatusDocument, BackendError>
  readonly verify: (options: CheckOptions) => Effect.Effect<VerifyDocument, BackendError>
  readonly repair: (options: CheckOptions) => Effect.Effect<RepairDocument, BackendError>
  /** The archived tree, for comparisons. */
  readonly merkleSource: MerkleSource<BackendError>
  readonly flush: Effect.Effect<typeof FlushBody.Encoded, BackendError>
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
