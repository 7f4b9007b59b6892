/**
 * The writer lease as a model that is explored to its end: a node whose filter is judged, another one that writes the
 * same archive, messages that are slow, late or lost, a crash. The rules are the engine's own (`MemoryWriters`, `WriterWatch`, `FilterTrust`); what the model plays is who
 * calls them when (`LeaseClient`, `TrackedFilter`, the archive's transaction), and sets of items in place of filters and
 * rows.
 *
 * The promise: whenever a node trusts its filter, everything that the archive holds is in it, or in the node's log, where
 * readers look first.
 *
 * Bounded: each node's numbers of heartbeats, commits, rebuilds and crashes; time is not, and all nodes share one clock. A process that has died sends nothing more, and its log admits the next one only then.
 */
import {
  type HeartbeatRequest,
  MemoryWriters,
  type WriterRow,
  WriterWatch
} from "../../src/archive/WriterLease.js"
import { FilterTrust, type HeartbeatTicket } from "../../src/filter/FilterTrust.js"
import type { Digest } from "../../src/merkle/Tree.js"
import type { Model } from "./explore.js"

/** Ticks. The holder trusts its lease for three of them. */
const leaseMs = 4

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

type Reply =
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

interface Node {
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
interface Other {
  readonly number: number
  readonly watch: WriterWatch
  readonly token: string | undefined
  readonly sent: ReadonlyArray<Exclude<Sent, { readonly kind: "commit" }>>
  readonly left: Pick<Bounds, "otherHeartbeats" | "otherCommits">
}

interface State {
  readonly now: number
  /** One bit for each item. */
  readonly archive: number
  readonly register: MemoryWriters
  readonly node: Node
  readonly other: Other
}

/** Copies an object of one of the engine's classes; what it holds is replaced there and never changed, but for its maps. */
const copyOf = <A extends object>(object: A): A => {
  const copy = Object.assign(Object.create(Object.getPrototypeOf(object) as object), object) as Record<
    string,
    unknown
  >
  for (const [name, value] of Object.entries(copy)) if (value instanceof Map) copy[name] = new Map(value)
  return copy as A
}

const digestOf = (items: number): Digest => String(items) as Digest

const begin = (name: string, bounds: Bounds): Node => ({
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

const used = (left: Bounds, name: keyof Bounds): Bounds => ({ ...left, [name]: left[name] - 1 })
const without = <A>(list: ReadonlyArray<A>, index: number): ReadonlyArray<A> => list.toSpliced(index, 1)

/** After every event, as `TrackedFilter.settle`. */
const settled = (node: Node): Node => ({
  ...node,
  serving: node.trust.covered ? node.serving : undefined,
  building: node.trust.rebuildStands ? node.building : undefined
})

type Step = readonly [action: string, node: Node, archive?: number, register?: MemoryWriters]

/** What a node does by itself: `LeaseClient.send`, `TrackedFilter.commitStarted`, `beginRebuild`, `finishRebuild`. */
function* own({ archive, node, now }: State, { lapsed }: Rules): Generator<Step> {
  const number = node.number + 1
  const { left, name } = node
  if (left.heartbeats > 0 && node.heartbeat === undefined) {
    const trust = copyOf(node.trust)
    const ticket = trust.heartbeatSent(now)
    const request = {
      node: name,
      known: trust.token,
      fresh: `${name}${number}`,
      exclusive: true,
      leaseMs,
      lapsed: lapsed(node.watch, now)
    }
    yield [
      "heartbeat",
      {
        ...node,
        number,
        trust,
        heartbeat: { number, ticket },
        sent: [...node.sent, { kind: "heartbeat", number, request }],
        left: used(left, "heartbeats")
      }
    ]
  }
  if (left.commits > 0 && node.commit === undefined) {
    // A new item, or what has to be tried again.
    const item = node.pending === 0 ? 1 << left.commits : node.pending
    const trust = copyOf(node.trust)
    const ticket = trust.commitStarted()
    const add = (items: number | undefined) => (items === undefined ? undefined : items | item)
    yield [
      "commit",
      {
        ...node,
        number,
        trust,
        serving: add(node.serving),
        building: add(node.building),
        pending: item,
        commit: { number, ticket, item },
        sent: [...node.sent, { kind: "commit", number, item }],
        left: used(left, "commits")
      }
    ]
  }
  if (left.rebuilds > 0 && node.building === undefined) {
    const trust = copyOf(node.trust)
    if (trust.beginRebuild(now) === undefined) {
      yield ["rebuild", { ...node, trust, building: node.commit?.item ?? 0, left: used(left, "rebuilds") }]
    }
  }
  if (node.building !== undefined) {
    const read = { ...node, building: node.building | archive }
    if (read.building !== node.building) yield ["page", read]
    const trust = copyOf(node.trust)
    // The pages end with one that was read at some time before.
    if (read.building === node.building && trust.finishRebuild(now) === undefined) {
      yield ["rebuilt", settled({ ...node, trust, serving: node.building, building: undefined })]
    }
  }
  if (left.crashes > 0) {
    const fresh = { ...begin(name, used(left, "crashes")), number, pending: node.pending }
    yield ["crash", fresh]
    const root = node.trust.coveredRoot
    if (root !== undefined && node.serving !== undefined) {
      fresh.trust.claim(root)
      yield ["restore", { ...fresh, trust: copyOf(fresh.trust), serving: node.serving }]
    }
  }
}

/** The archive takes what was sent, late or not at all; one transaction at a time. */
function* taken(state: State, { admits }: Rules): Generator<Step> {
  const { node } = state
  for (const [index, message] of node.sent.entries()) {
    const rest = { ...node, sent: without(node.sent, index) }
    const register = copyOf(state.register)
    const { archive } = state
    if (message.kind === "release") {
      register.release({ node: node.name, token: message.token })
      yield ["released", rest, archive, register]
    } else if (message.kind === "heartbeat") {
      const { others, token } = register.heartbeat(message.request)
      const reply: Reply = { kind: "heartbeat", number: message.number, token, others, root: archive }
      const waits = node.heartbeat?.number === message.number
      yield ["heard", waits ? { ...rest, replies: [...node.replies, reply] } : rest, archive, register]
    } else {
      const after = archive | message.item
      const made = admits(register, node.name) ? { before: archive, after } : undefined
      const reply: Reply = { kind: "commit", number: message.number, made }
      const waits = node.commit?.number === message.number
      yield [
        made === undefined ? "refused" : "committed",
        waits ? { ...rest, replies: [...node.replies, reply] } : rest,
        made === undefined ? archive : after,
        register
      ]
    }
  }
}

/** Replies arrive; or nobody waits any more, and the question is still on its way: `LeaseClient.returned`, `TrackedCommit`. */
function* returned({ node, now }: State, { surrenders }: Rules): Generator<Step> {
  for (const [index, reply] of node.replies.entries()) {
    const rest = { ...node, trust: copyOf(node.trust), replies: without(node.replies, index) }
    if (reply.kind === "commit") {
      const { ticket } = node.commit!
      if (reply.made === undefined) rest.trust.commitFailed()
      else rest.trust.commitSucceeded(ticket, digestOf(reply.made.before), digestOf(reply.made.after), now)
      const pending = reply.made === undefined ? node.pending : 0
      yield ["told", settled({ ...rest, commit: undefined, pending })]
      continue
    }
    const watch = copyOf(node.watch)
    watch.observe(reply.others, now)
    const alone = reply.others.length === 0
    const token = alone || !surrenders ? reply.token : undefined
    rest.trust.heartbeatReturned(node.heartbeat!.ticket, { token, root: digestOf(reply.root) }, leaseMs)
    const number = node.number + 1
    const release =
      reply.token === undefined || alone ? [] : [{ kind: "release" as const, number, token: reply.token }]
    yield [
      "returned",
      settled({ ...rest, number, watch, heartbeat: undefined, sent: [...node.sent, ...release] })
    ]
  }
  if (node.heartbeat !== undefined) {
    const replies = node.replies.filter(({ kind }) => kind !== "heartbeat")
    yield ["unheard", { ...node, heartbeat: undefined, replies }]
  }
  if (node.commit !== undefined) {
    const trust = copyOf(node.trust)
    trust.commitFailed()
    const replies = node.replies.filter(({ kind }) => kind !== "commit")
    yield ["untold", settled({ ...node, trust, commit: undefined, replies })]
  }
}

/** The other node: its replies are at once or lost, which lets it do the most. */
function* others({ archive, now, other, register }: State, { admits, lapsed }: Rules) {
  const { left } = other
  const number = other.number + 1
  const name = "b"
  if (left.otherHeartbeats > 0) {
    const request = {
      node: name,
      known: other.token,
      fresh: `${name}${number}`,
      exclusive: true,
      leaseMs,
      lapsed: lapsed(other.watch, now)
    }
    const sent = [...other.sent, { kind: "heartbeat" as const, number, request }]
    const rest = { ...left, otherHeartbeats: left.otherHeartbeats - 1 }
    yield ["heartbeat", { ...other, number, sent, left: rest }, archive, register] as const
  }
  if (left.otherCommits > 0 && admits(register, name)) {
    const rest = { ...left, otherCommits: left.otherCommits - 1 }
    yield ["committed", { ...other, left: rest }, archive | (1 << (8 + left.otherCommits)), register] as const
  }
  for (const [index, message] of other.sent.entries()) {
    const next = copyOf(register)
    const rest = { ...other, sent: without(other.sent, index) }
    if (message.kind === "release") {
      next.release({ node: name, token: message.token })
      yield ["released", rest, archive, next] as const
      continue
    }
    const reply = next.heartbeat(message.request)
    yield ["heard", rest, archive, next] as const
    const watch = copyOf(other.watch)
    watch.observe(reply.others, now)
    const alone = reply.others.length === 0
    const release =
      alone || reply.token === undefined ? [] : [{ kind: "release" as const, number, token: reply.token }]
    const token = alone ? reply.token : undefined
    yield [
      "returned",
      { ...rest, number, watch, token, sent: [...rest.sent, ...release] },
      archive,
      next
    ] as const
  }
}

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
const keyOf = ({ archive, node, now, other, register }: State): string => {
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

export const leaseModel = (bounds: Bounds, rules: Rules = enginesRules): Model<State> => ({
  initial: {
    now: 0,
    archive: 1,
    register: new MemoryWriters(),
    node: begin("a", bounds),
    other: { number: 0, watch: new WriterWatch(), token: undefined, sent: [], left: bounds }
  },
  *next(state) {
    yield ["tick", { ...state, now: state.now + 1 }]
    for (const steps of [own(state, rules), taken(state, rules), returned(state, rules)]) {
      for (const [action, node, archive = state.archive, register = state.register] of steps) {
        yield [action, { ...state, archive, register, node }]
      }
    }
    for (const [action, other, archive, register] of others(state, rules)) {
      yield [`other:${action}`, { ...state, archive, register, other }]
    }
  },
  keyOf,
  broken({ archive, node: { pending, serving, trust }, now, register }) {
    const tokens = [...register.rows.values()].filter(({ token }) => token !== undefined).length
    if (tokens > 1) return `${tokens} nodes are the sole writer`
    return serving !== undefined && now < trust.trustedUntil && (archive & ~serving & ~pending) !== 0
      ? `it trusts a filter of ${serving.toString(2)}, the archive holds ${archive.toString(2)}`
      : undefined
  }
})
