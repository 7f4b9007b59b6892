/**
 * A typed client of the HTTP API, in the engine's words: failures are the engine's own errors where the server
 * returned one. It runs on any of the platform's HTTP clients.
 *
 * @example
 * ```ts
 * import { FetchHttpClient } from "@effect/platform"
 * import { Effect, Redacted } from "effect"
 * import type { Receipt } from "effect-sync-engine"
 * import * as HttpClient from "effect-sync-engine/HttpClient"
 *
 * const write = Effect.gen(function* () {
 *   const client = yield* HttpClient.make({ url: "http://127.0.0.1:7420", token: Redacted.make("secret") })
 *   const receipt: Receipt = yield* client.submit({ id: "user.42", content: "{}" }, { durability: "archive" })
 *   return receipt.version
 * }).pipe(
 *   // The engine's own errors say when to try again.
 *   Effect.catchTag("Backpressure", ({ retryAfterMs }) => Effect.log(`again in ${retryAfterMs} ms`)),
 *   Effect.provide(FetchHttpClient.layer)
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as HttpApiClient from "@effect/platform/HttpApiClient"
import * as HttpClient from "@effect/platform/HttpClient"
import { Chunk, Context, Effect, Layer, Option, Schema, Stream } from "effect"
import type { NameRange } from "../../merkle/Source.js"
import type {
  DeleteOptions,
  Durability,
  FlushResult,
  Page,
  Receipt,
  SubmitItem,
  SubmitOptions,
  SubmitResult,
  VerifyOptions
} from "../../SyncEngine.js"
import type { SyncItem } from "../../SyncItem.js"
import { Api } from "../api/Api.js"
import * as S from "../api/ApiSchemas.js"
import type { BatchItem } from "./ItemLines.js"
import * as Items from "./ItemRequests.js"
import { type ClientError, type ClientOptions, Transport } from "./Transport.js"

export { RequestFailed } from "../api/RequestFailed.js"
export type { BatchItem } from "./ItemLines.js"
export type { ScanRange } from "./ItemRequests.js"
export { type ClientError, type ClientOptions, Unreachable } from "./Transport.js"

/**
 * What a health endpoint says.
 *
 * @since 0.1.0
 * @category models
 */
export interface HealthAnswer {
  /** Whether it was so: the status was 200, and not 503. */
  readonly ok: boolean
  readonly lifecycle: typeof S.LifecycleBody.Type
}

/**
 * Every operation of the API. Nothing is sent before an effect runs, and nothing is retried. Writes with the same id
 * through one client are not ordered: wait for one before the next.
 *
 * @since 0.1.0
 * @category models
 */
export interface Client {
  /** Without a slash at its end. */
  readonly url: string
  /** Whether the engine has not stopped. */
  readonly live: Effect.Effect<HealthAnswer, ClientError>
  /** Whether queries are accepted, or writes. */
  readonly ready: (operation?: "queries" | "writes") => Effect.Effect<HealthAnswer, ClientError>
  /** Whether the start is over. */
  readonly startup: Effect.Effect<HealthAnswer, ClientError>
  /** Health and statistics. */
  readonly status: Effect.Effect<typeof S.StatusBody.Type, ClientError>
  /** Whether this call made the drain. */
  readonly drain: Effect.Effect<boolean, ClientError>
  /** Asks for the shutdown and waits for its report; every caller gets the same one. */
  readonly shutdown: Effect.Effect<typeof S.ShutdownBody.Type, ClientError>
  /** Carries everything acknowledged so far to the archive; `TierUnavailable` when that takes too long. */
  readonly flush: Effect.Effect<FlushResult, ClientError>
  /** Refuses writes, or admits them again. */
  readonly setReadOnly: (readOnly: boolean) => Effect.Effect<void, ClientError>
  /** Without options: roots and rows. */
  readonly verify: (options?: VerifyOptions) => Effect.Effect<typeof S.VerifyBody.Type, ClientError>
  /** Without options everything is looked at. */
  readonly repair: (options?: VerifyOptions) => Effect.Effect<typeof S.RepairBody.Type, ClientError>
  readonly deadLetters: {
    /** By ascending sequence, read in pages. */
    readonly list: (after?: number) => Stream.Stream<typeof S.DeadLetterBody.Type, ClientError>
    /** Without sequences: all. */
    readonly retry: (sequences?: ReadonlyArray<number>) => Effect.Effect<number, ClientError>
    /** For good. */
    readonly drop: (sequences?: ReadonlyArray<number>) => Effect.Effect<number, ClientError>
  }
  /** Prometheus text. */
  readonly metrics: Effect.Effect<string, ClientError>
  /** Writes one item; its receipt says the durability that was reached. */
  readonly submit: (item: SubmitItem, options?: SubmitOptions) => Effect.Effect<Receipt, ClientError>
  /** One result per item, in order. Sent in requests of at most 500 items and about 1 MiB. */
  readonly submitMany: (
    items: ReadonlyArray<BatchItem>,
    durability?: Durability
  ) => Effect.Effect<ReadonlyArray<SubmitResult>, ClientError>
  /** None is proven absent. `verified` compares with the archive and re-hashes first. */
  readonly get: (
    id: string,
    options?: { readonly verified?: boolean }
  ) => Effect.Effect<Option.Option<SyncItem>, ClientError>
  /** The version of the tombstone. */
  readonly delete: (id: string, options?: DeleteOptions) => Effect.Effect<number, ClientError>
  /** By ascending id, read in pages of 1,000. */
  readonly scan: (range: Items.ScanRange) => Stream.Stream<SyncItem, ClientError>
  /** The digest over all archived items. */
  readonly merkleRoot: Effect.Effect<string, ClientError>
  /** None when no live item lies below the path. */
  readonly merkleNode: (
    path: string,
    page?: Omit<Page, "after"> & {
      readonly after?: { readonly name: string; readonly kind: "branch" | "leaf" } | undefined
    }
  ) => Effect.Effect<Option.Option<typeof S.NodeBody.Type>, ClientError>
  /** One page each; `MerkleClient` makes a source of comparisons of them. */
  readonly merkleBranches: (
    path: string,
    page?: Page
  ) => Effect.Effect<typeof S.BranchesBody.Type, ClientError>
  readonly merkleLeaves: (
    path: string,
    page?: Page & NameRange
  ) => Effect.Effect<typeof S.LeavesBody.Type, ClientError>
  readonly merkleSum: (path: string, range: NameRange) => Effect.Effect<typeof S.SumBody.Type, ClientError>
  readonly merkleParts: (
    path: string,
    range: NameRange,
    size: number
  ) => Effect.Effect<typeof S.PartsBody.Type, ClientError>
}

/**
 * A client that an application shares as a service.
 *
 * @since 0.1.0
 * @category services
 */
export class HttpSyncClient extends Context.Tag("effect-sync-engine/http/client/HttpClient")<
  HttpSyncClient,
  Client
>() {}

/** The part of the client that is derived from the API; ids in paths, raw bytes and lines are none of it. */
const derive = (transport: Transport) =>
  HttpApiClient.makeWith(Api, { httpClient: transport.client, baseUrl: transport.url })

type Derived = Effect.Effect.Success<ReturnType<typeof derive>>

type Call = <A>(call: Effect.Effect<A, unknown>) => Effect.Effect<A, ClientError>

const decodeLifecycle = Schema.decodeUnknown(S.LifecycleBody)

/** Whether it is so or not (503) is the answer; everything else is a failure. */
const health = (
  call: Effect.Effect<typeof S.LifecycleBody.Type, ClientError>
): Effect.Effect<HealthAnswer, ClientError> =>
  call.pipe(
    Effect.map((lifecycle) => ({ ok: true, lifecycle })),
    Effect.catchIf(
      (error) => error._tag === "RequestFailed" && error.status === 503,
      (error) =>
        Effect.mapBoth(decodeLifecycle("fields" in error ? error.fields : undefined), {
          onFailure: () => error,
          onSuccess: (lifecycle) => ({ ok: false, lifecycle })
        })
    )
  )

const deadLetters = ({ admin }: Derived, call: Call): Client["deadLetters"] => {
  const chosen = (sequences: ReadonlyArray<number> | undefined) =>
    sequences === undefined ? { payload: { all: true } as const } : { payload: { sequences } }
  return {
    list: (after = 0) =>
      Stream.paginateChunkEffect(after, (from) =>
        Effect.map(
          call(admin.deadLetters({ urlParams: { after: from, limit: 1_000 } })),
          ({ deadLetters, nextAfter }) => [Chunk.fromIterable(deadLetters), Option.fromNullable(nextAfter)]
        )
      ),
    retry: (sequences) =>
      Effect.map(call(admin.retryDeadLetters(chosen(sequences))), ({ retried }) => retried),
    drop: (sequences) => Effect.map(call(admin.dropDeadLetters(chosen(sequences))), ({ dropped }) => dropped)
  }
}

type MerkleCalls = Pick<Client, Extract<keyof Client, `merkle${string}`>>

const merkleCalls = ({ merkle }: Derived, call: Call): MerkleCalls => ({
  merkleRoot: Effect.map(call(merkle.root({})), ({ root }) => root),
  merkleNode: (path, { after, limit } = {}) =>
    call(merkle.node({ urlParams: { path, after: after?.name, afterKind: after?.kind, limit } })).pipe(
      Effect.asSome,
      Effect.catchIf(
        (error) => error._tag === "RequestFailed" && error.error === "NotFound",
        () => Effect.succeedNone
      )
    ),
  merkleBranches: (path, page) => call(merkle.branches({ urlParams: { path, ...page } })),
  merkleLeaves: (path, page) => call(merkle.leaves({ urlParams: { path, ...page } })),
  merkleSum: (path, { after, upTo }) => call(merkle.sum({ urlParams: { path, after, upTo } })),
  merkleParts: (path, { after, upTo }, size) => call(merkle.parts({ urlParams: { path, after, upTo, size } }))
})

/**
 * A client over the platform's HTTP client (`NodeHttpClient.layerUndici`, `FetchHttpClient.layer`, …). Making it sends
 * nothing.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: ClientOptions): Effect.Effect<Client, never, HttpClient.HttpClient> =>
  Effect.gen(function* () {
    const transport = new Transport(yield* HttpClient.HttpClient, options)
    const api = yield* derive(transport)
    const { admin } = api
    const call: Call = (effect) => Effect.mapError(effect, transport.told)
    return {
      url: transport.url,
      live: health(call(api.health.live({}))),
      ready: (operation) => health(call(api.health.ready({ urlParams: { for: operation } }))),
      startup: health(call(api.health.startup({}))),
      status: call(admin.status({})),
      drain: Effect.map(call(admin.drain({})), ({ changed }) => changed),
      shutdown: call(admin.shutdown({})),
      flush: call(admin.flush({})),
      setReadOnly: (readOnly) => Effect.asVoid(call(admin.readonly({ payload: { readOnly } }))),
      verify: (payload = {}) => call(admin.verify({ payload })),
      repair: (payload = {}) => call(admin.repair({ payload })),
      deadLetters: deadLetters(api, call),
      metrics: call(api.metrics.metrics({})),
      submit: Items.submit(transport),
      submitMany: Items.submitMany(transport),
      get: Items.find(transport),
      delete: Items.remove(transport),
      scan: Items.scan(transport),
      ...merkleCalls(api, call)
    }
  })

/**
 * The client as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: ClientOptions): Layer.Layer<HttpSyncClient, never, HttpClient.HttpClient> =>
  Layer.effect(HttpSyncClient, make(options))
