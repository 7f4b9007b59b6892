/** HTTP clients that write until they are refused or stopped, and remember every answer. */
import { Chance } from "./durability/Chance.js"

interface Written {
  readonly version: number
  /** What `content` has to be; undefined after a deletion. */
  readonly content: unknown
}

export interface Load {
  /** The last acknowledged write of each id. */
  readonly acknowledged: ReadonlyMap<string, Written>
  /** Ids whose last write got no answer: it may or may not have taken place. */
  readonly uncertain: ReadonlySet<string>
  readonly answers: () => number
  /** Statuses other than success. */
  readonly refusals: ReadonlyMap<number, number>
  /** Until every client has come to its end. */
  readonly ended: Promise<void>
  readonly stop: () => void
}

/** Starts the clients; each has ids of its own, so the order of its answers is the order of its writes. */
export const startLoad = (
  url: string,
  options: {
    readonly clients: number
    readonly seed: number
    readonly headers?: Readonly<Record<string, string>>
  }
): Load => {
  const acknowledged = new Map<string, Written>()
  const uncertain = new Set<string>()
  const refusals = new Map<number, number>()
  let answers = 0
  let stopped = false

  const client = async (number: number, chance: Chance): Promise<void> => {
    for (let turn = 0; !stopped; turn++) {
      const id = `client${number}.${chance.next() < 0.5 ? "new" : "again"}.${turn % 2 === 0 ? turn : chance.below(20)}`
      const deletes = chance.next() < 0.2
      const content = { client: number, turn, filling: "x".repeat(chance.below(500)) }
      uncertain.add(id)
      let response: Response
      try {
        response = await fetch(`${url}/items/${id}`, {
          method: deletes ? "DELETE" : "PUT",
          headers: { "content-type": "application/json", ...options.headers },
          ...(deletes ? {} : { body: JSON.stringify(content) })
        })
        await response.arrayBuffer()
      } catch {
        // No answer: the connection was refused or lost.
        return
      }
      answers++
      uncertain.delete(id)
      if (!response.ok) {
        refusals.set(response.status, (refusals.get(response.status) ?? 0) + 1)
        return
      }
      const version = Number(response.headers.get("etag")?.replaceAll('"', ""))
      acknowledged.set(id, { version, content: deletes ? undefined : content })
    }
  }
  const chance = new Chance(options.seed)
  const clients = Array.from({ length: options.clients }, (_, number) => client(number, chance.fork()))
  return {
    acknowledged,
    uncertain,
    refusals,
    answers: () => answers,
    ended: Promise.all(clients).then(() => {}),
    stop: () => {
      stopped = true
    }
  }
}

/** What of the acknowledged is not there as it should be. */
export const missing = (
  load: Pick<Load, "acknowledged" | "uncertain">,
  items: ReadonlyMap<string, { readonly version: number; readonly content?: unknown }>
): ReadonlyArray<string> => {
  const problems: Array<string> = []
  for (const [id, { content, version }] of load.acknowledged) {
    if (load.uncertain.has(id)) continue
    const item = items.get(id)
    if (content === undefined) {
      if (item !== undefined) problems.push(`${id} was deleted, and is there in version ${item.version}`)
    } else if (item === undefined) problems.push(`${id} is not there`)
    else if (item.version !== version || JSON.stringify(item.content) !== JSON.stringify(content)) {
      problems.push(`${id} has version ${item.version}, ${version} was acknowledged`)
    }
  }
  return problems
}
