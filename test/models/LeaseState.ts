/** The states of the writer lease's model, and when two of them are the same. */
import {
  type HeartbeatRequest,
  type MemoryWriters,
  type WriterRow,
  WriterWatch
} from "../../src/archive/WriterLease.js"
import { FilterTrust, type HeartbeatTicket } from "../../src/filter/FilterTrust.js"
import type { Digest } from "../../src/merkle/Tree.js"

/** Ticks. The holder trusts its lease for three of them. */
export const leaseMs = 4

export interface Bounds {
  readonly heartbeats: number
  readonly commits: number
  readonly otherHeartbeats: number
  readonly otherCommits: number
  readonly rebuilds: number
  readonly crashes: number
}

/** Rules in place of the engine's own, to see that the model notices. */
export interface Rules {
  readonly admits: (register: MemoryWriters, node: string) => boolean
  readonly lapsed: (watch: WriterWatch, now: number) => HeartbeatRequest["lapsed"]
  /** Whether the filter stops trusting its token before that is given up. */
  readonly surrenders: boolean
}

export const enginesRules: Rules = {
  admits: (register, node) => register.admits(node),
  lapsed: (watch, now) => watch.lapsed(now),
  surrenders: true
}

type CommitTicket = ReturnType<FilterTrust["commitStarted"]>

type Sent =
  | { readonly kind: "heartbeat"; readonly number: number; readonly request: HeartbeatRequest }
  | { readonly kind: "commit"; readonly number: number; readonly item: number }
  | { readonly kind: "release"; readonly number: number; readonly token: string }

export type Reply =
  | {
      readonly kind: "heartbeat"
      readonly number: number
      readonly token: string | undefined
      readonly others: ReturnType<MemoryWriters["heartbeat"]>["others"]
      readonly root: number
    }
  | {
      readonly kind: "commit"
      readonly number: number
      readonly made: { readonly before: number; readonly after: number } | undefined
    }

export interface Node {
  readonly name: string
  /** Counts what it has sent: no name is used twice. */
  readonly number: number
  readonly trust: FilterTrust
  readonly watch: WriterWatch
  /** Items of the filter; undefined while there is none. */
  readonly serving: number | undefined
  readonly building: number | undefined
  /** Items in the log: their commits have not been told to have been made. Outlives the process. */
  readonly pending: number
  readonly heartbeat: { readonly number: number; readonly ticket: HeartbeatTicket } | undefined
  readonly commit:
    | { readonly number: number; readonly ticket: CommitTicket; readonly item: number }
    | undefined
  /** On their way to the archive, and back. */
  readonly sent: ReadonlyArray<Sent>
  readonly replies: ReadonlyArray<Reply>
  readonly left: Bounds
}

/** Of the other node only what the archive sees of it: it sends what any node may send, and gives way as all do. */
export interface Other {
  readonly number: number
  readonly watch: WriterWatch
  readonly token: string | undefined
  readonly sent: ReadonlyArray<Exclude<Sent, { readonly kind: "commit" }>>
  readonly left: Pick<Bounds, "otherHeartbeats" | "otherCommits">
}

export interface State {
  readonly now: number
  /** One bit for each item. */
  readonly archive: number
  readonly register: MemoryWriters
  readonly node: Node
  readonly other: Other
}

/** Copies an object of one of the engine's classes; what it holds is replaced there and never changed, but for its maps. */
export const copyOf = <A extends object>(object: A): A => {
  const copy = Object.assign(Object.create(Object.getPrototypeOf(object) as object), object) as Record<
    string,
    unknown
  >
  for (const [name, value] of Object.entries(copy)) if (value instanceof Map) copy[name] = new Map(value)
  return copy as A
}

export const digestOf = (items: number): Digest => String(items) as Digest

export const begin = (name: string, bounds: Bounds): Node => ({
  name,
  number: 0,
  trust: new FilterTrust(),
  watch: new WriterWatch(),
  serving: undefined,
  building: undefined,
  pending: 0,
  heartbeat: undefined,
  commit: undefined,
  sent: [],
  replies: [],
  left: bounds
})

export const used = (left: Bounds, name: keyof Bounds): Bounds => ({ ...left, [name]: left[name] - 1 })
export const without = <A>(list: ReadonlyArray<A>, index: number): ReadonlyArray<A> =>
  list.toSpliced(index, 1)

/** After every event, as `TrackedFilter.settle`. */
export const settled = (node: Node): Node => ({
  ...node,
  serving: node.trust.covered ? node.serving : undefined,
  building: node.trust.rebuildStands ? node.building : undefined
})

/** The private state of a `WriterWatch`. */
interface Seen {
  readonly seen: ReadonlyMap<string, { readonly row: WriterRow; readonly since: number }>
}

/** The private state of a `FilterTrust`. */
interface Facts {
  readonly grant: { readonly token: string; readonly until: number } | undefined
  readonly serial: number
  readonly lostBecause: string
}

/**
 * Equal for states that behave alike: times count from now and up to the lease, numbers only by whether they are the
 * present ones, names by their order.
 */
export const keyOf = ({ archive, node, now, other, register }: State): string => {
  const names = new Map<string, string>()
  const { grant, lostBecause: _, serial, ...facts } = node.trust as unknown as Facts
  const { commit, heartbeat, number: __, replies, sent, trust: ___, watch, ...rest } = node
  const seen = (of: WriterWatch) =>
    [...(of as unknown as Seen).seen.values()].map(({ row, since }) => [row, Math.min(leaseMs, now - since)])
  const key = [
    archive,
    [...register.rows.values()],
    rest,
    facts,
    grant && [grant.token, Math.max(0, grant.until - now)],
    heartbeat && [
      heartbeat.ticket.serial === serial && heartbeat.ticket.quiet,
      Math.min(leaseMs, now - heartbeat.ticket.sentAt)
    ],
    commit && [commit.ticket.serial === serial && commit.ticket.alone, commit.ticket.under, commit.item],
    seen(watch),
    sent.map((message) => ({
      ...message,
      number: message.number === (message.kind === "commit" ? commit : heartbeat)?.number
    })),
    replies.map((reply) => ({ ...reply, number: 0 })),
    other.token,
    other.left,
    seen(other.watch),
    other.sent.map((message) => ({ ...message, number: 0 }))
  ]
  return JSON.stringify(key, (_, value: unknown) =>
    value instanceof Map ? [...value.entries()] : value
  ).replace(/"[ab]\d+"/g, (name) => {
    if (!names.has(name)) names.set(name, `${name[1]}${names.size}`)
    return names.get(name)!
  })
}
