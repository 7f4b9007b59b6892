/**
 * The writer lease as a model that is explored to its end: a node whose filter is judged, another one that writes the
 * same archive, messages that are slow, late or lost, a crash. The rules are the engine's own (`MemoryWriters`,
 * `WriterWatch`, `FilterTrust`); what the model plays is who calls them when (`LeaseClient`, `TrackedFilter`, the
 * archive's transaction), and sets of items in place of filters and rows.
 *
 * The promise: whenever a node trusts its filter, everything that the archive holds is in it, or in the node's log, where
 * readers look first.
 *
 * Bounded: each node's numbers of heartbeats, commits, rebuilds and crashes; time is not, and all nodes share one clock. A
 * process that has died sends nothing more, and its log admits the next one only then.
 */
import { MemoryWriters, WriterWatch } from "../../src/archive/WriterLease.js"
import type { Model } from "./explore.js"
import {
  type Bounds,
  begin,
  copyOf,
  digestOf,
  enginesRules,
  keyOf,
  leaseMs,
  type Node,
  type Reply,
  type Rules,
  type State,
  settled,
  used,
  without
} from "./LeaseState.js"

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
