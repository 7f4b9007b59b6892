/** What clients do with several nodes, and what of it must hold at once. */
import { Effect, Option } from "effect"
import type { ItemHead } from "../../src/SyncItem.js"
import type { Chance } from "./Chance.js"
import type { Node } from "./Node.js"
import type { World } from "./World.js"

interface Reading {
  readonly node: Node
  readonly id: string
  /** At some instant of the call, not to find it was right. */
  mayBeAbsent: boolean
}

export class NodeClients {
  readonly acknowledged: Array<ItemHead> = []
  private readonly contents = new Map<string, Set<string>>()
  private readonly readings = new Set<Reading>()
  /** Ids that were written once: others may have denied them until then. */
  private once = 0
  calls = 0
  absent = 0
  denied = 0

  constructor(
    private readonly chance: Chance,
    private readonly nodes: ReadonlyArray<Node>
  ) {}

  private get world(): World {
    return this.nodes[0]!.world
  }

  /** After every turn: what may be absent now, may be so for who reads it. */
  look(): void {
    for (const reading of this.readings) if (this.mayBeAbsent(reading)) reading.mayBeAbsent = true
  }

  /** What is still being read is not judged any more. */
  giveUp(): void {
    this.readings.clear()
  }

  lastOnce(): ReadonlyArray<string> {
    return Array.from({ length: 4 }, (_, n) => `once.${this.once - n}`)
  }

  private mayBeAbsent({ id, node }: Reading): boolean {
    const stored = this.world.archive.records.get(id)
    return (
      stored === undefined ||
      stored.deleted ||
      node.world.disk.entries.some(({ record }) => record.id === id && record.deleted)
    )
  }

  /** An id that all write, or one of those that are written once: those to come, too. */
  private anyId(): string {
    const { chance, world } = this
    return chance.bool(0.5)
      ? chance.pick(world.settings.ids)
      : `once.${Math.max(0, this.once - 3) + chance.int(5)}`
  }

  /** One call of some client of some node. */
  call(): void {
    const { chance } = this
    const node = chance.pick(this.nodes)
    if (node.life === undefined || !node.started) return
    this.calls++
    const kind = chance.weighted([
      [5, "put"],
      [2, "delete"],
      [6, "get"],
      [1, "getVerified"]
    ] as const)
    if (kind === "put" || kind === "delete") this.write(node, kind)
    else this.read(node, kind, this.anyId())
  }

  private write(node: Node, kind: "put" | "delete"): void {
    const { chance, contents, world } = this
    const { service } = node.life!
    const isNew = kind === "put" && chance.bool(0.3)
    const id = isNew ? `once.${this.once++}` : chance.pick(world.settings.ids)
    const durability = chance.bool(0.3) ? "archive" : "wal"
    const content = `"#${this.calls}"`
    if (kind === "put") contents.set(id, (contents.get(id) ?? new Set()).add(content))
    const effect =
      kind === "put" ? service.submit({ id, content }, { durability }) : service.delete(id, { durability })
    node.call(`${kind} ${id} ${durability}`, effect, ({ contentHash, version }) => {
      this.acknowledged.push({ id, version, contentHash, deleted: kind === "delete" })
      return String(version)
    })
  }

  private read(node: Node, kind: "get" | "getVerified", id: string): void {
    const { violations } = this.world
    const { service } = node.life!
    const reading: Reading = { node, id, mayBeAbsent: false }
    reading.mayBeAbsent = this.mayBeAbsent(reading)
    this.readings.add(reading)
    if (node.denies(id)) this.denied++
    const effect = Effect.onExit(kind === "get" ? service.get(id) : service.getVerified(id), () =>
      Effect.sync(() => this.readings.delete(reading))
    )
    node.call(`${kind} ${id}`, effect, (found) => {
      if (Option.isNone(found)) {
        this.absent++
        violations.require(
          reading.mayBeAbsent || this.mayBeAbsent(reading),
          () => `${node.name} denied ${id}, which the archive held all the time`
        )
        return "absent"
      }
      const text = Buffer.from(found.value.content).toString()
      violations.require(
        this.contents.get(id)?.has(text) === true,
        () => `${node.name} read ${text} of ${id}, which nobody wrote`
      )
      return text
    })
  }
}
