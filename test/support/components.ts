import { Context, Effect, Layer, type Scope } from "effect"
import { Archive, type OpenArchive } from "../../src/archive/Archive.js"
import { Cache, type CacheService } from "../../src/cache/Cache.js"

/** The part of an engine that opens what is open already. */
export const archiveOf = (archive: OpenArchive): Layer.Layer<Archive> =>
  Layer.succeed(Archive, { open: Effect.succeed(archive) })

/** As {@link archiveOf}. */
export const cacheOf = (cache: CacheService): Layer.Layer<Cache> =>
  Layer.succeed(Cache, { open: Effect.succeed(cache) })

/** Gets between the engine and what a part of it opens. */
export const between =
  <I, A, E>(
    tag: Context.Tag<I, { readonly open: Effect.Effect<A, E, Scope.Scope> }>,
    change: (opened: A) => A
  ) =>
  <O, E2, R>(layer: Layer.Layer<O | I, E2, R>): Layer.Layer<O | I, E2, R> =>
    Layer.map(layer, (context) => {
      const { open } = Context.get(context as Context.Context<I>, tag)
      // A part that there is not stays so.
      return open === undefined
        ? context
        : (Context.add(context, tag, { open: Effect.map(open, change) }) as Context.Context<O | I>)
    })

/** Opens a part in the scope. */
export const openedIn = <I, A, E>(
  tag: Effect.Effect<{ readonly open: Effect.Effect<A, E, Scope.Scope> | undefined }, never, I>
): Effect.Effect<A, E, I | Scope.Scope> =>
  Effect.flatMap(tag, ({ open }) => open ?? Effect.dieMessage("there is no such part"))
