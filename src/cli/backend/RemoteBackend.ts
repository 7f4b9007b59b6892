/** A backend over a running daemon. */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Effect, Option, type Redacted, Stream } from "effect"
import {
  encodeDeadLetter,
  encodeFlushed,
  encodeRepaired,
  encodeShutdown,
  encodeStatus,
  encodeVerified
} from "../../http/api/ApiSchemas.js"
import type { ClientError } from "../../http/client/HttpClient.js"
import * as Client from "../../http/client/HttpClient.js"
import * as MerkleClient from "../../http/client/MerkleClient.js"
import type { MerkleSource } from "../../merkle/Source.js"
import { failed } from "../app/CliError.js"
import { type Backend, type BackendError, isBelow } from "./Backend.js"

export interface Target {
  readonly url: string
  readonly token: Redacted.Redacted | undefined
}

const advices: Readonly<Record<string, string>> = {
  Unauthorized: "pass --token or --token-file, or set SYNC_ENGINE_ADMIN_TOKEN",
  UnexpectedAnswer: "is this the address of a sync-engine daemon?"
}

const errorFor =
  ({ url }: Target) =>
  (error: ClientError): BackendError => {
    switch (error._tag) {
      case "Unreachable":
        return failed(
          `no daemon answers at ${url} (${error.problem})`,
          "start one with `sync-engine run`, name another with --url, or open the data directory in this process with --offline"
        )
      case "RequestFailed":
        return failed(`the daemon at ${url} answers: ${error.message}`, advices[error.error])
      default:
        return error
    }
  }

/** A source with other errors. */
const mapSource = <E, E2>(source: MerkleSource<E>, toError: (error: E) => E2): MerkleSource<E2> => ({
  ...source,
  root: Effect.mapError(source.root, toError),
  node: (path) => Effect.mapError(source.node(path), toError),
  branches: (path, page) => Effect.mapError(source.branches(path, page), toError),
  leaves: (path, page) => Effect.mapError(source.leaves(path, page), toError),
  leafSum: (path, range) => Effect.mapError(source.leafSum(path, range), toError),
  leafParts: (path, range, size) => Effect.mapError(source.leafParts(path, range, size), toError)
})

export const make = (target: Target): Effect.Effect<Backend> =>
  Effect.map(Client.make(target), (client): Backend => {
    const toBackendError = errorFor(target)
    const call = <A>(effect: Effect.Effect<A, ClientError>) => Effect.mapError(effect, toBackendError)
    return {
      where: target.url,
      submitMany: (items, durability) => call(client.submitMany(items, durability)),
      submit: (item, options) => call(client.submit(item, options)),
      get: (id) => call(client.get(id)),
      delete: (id, options) =>
        Effect.map(call(client.delete(id, options)), (version) =>
          version === 0 ? Option.none() : Option.some(version)
        ),
      scan: ({ limit, prefix, state }) => {
        // The API takes one of the two; the limit counts what both select.
        const items =
          state === undefined
            ? client.scan({ prefix, limit })
            : Stream.filter(client.scan({ state }), ({ id }) => isBelow(id, prefix))
        return Stream.mapError(limit === undefined ? items : Stream.take(items, limit), toBackendError)
      },
      status: call(Effect.map(client.status, encodeStatus)),
      verify: (options) => call(Effect.map(client.verify(options), encodeVerified)),
      repair: (options) => call(Effect.map(client.repair(options), encodeRepaired)),
      merkleSource: mapSource(MerkleClient.ofClient(client), toBackendError),
      flush: call(Effect.map(client.flush, encodeFlushed)),
      root: call(client.merkleRoot),
      drain: call(client.drain),
      shutdown: call(Effect.map(client.shutdown, encodeShutdown)),
      deadLetters: {
        list: Stream.mapBoth(client.deadLetters.list(), {
          onFailure: toBackendError,
          onSuccess: encodeDeadLetter
        }),
        retry: (sequences) => call(client.deadLetters.retry(sequences)),
        drop: (sequences) => call(client.deadLetters.drop(sequences))
      }
    }
  }).pipe(Effect.provide(NodeHttpClient.layer))
