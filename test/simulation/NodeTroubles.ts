/** What happens to several nodes, and to what they share. */
import type { Chance } from "./Chance.js"
import type { Node } from "./Node.js"

export class NodeTroubles {
  crashes = 0
  pauses = 0
  failovers = 0
  /** Makes the cache what its replica holds. */
  private failOver: () => void

  constructor(
    private readonly chance: Chance,
    private readonly nodes: ReadonlyArray<Node>,
    /** Nodes are mostly alone: only then can one be the archive's only writer. */
    private readonly seldomTogether: boolean
  ) {
    this.failOver = this.cache.control.replica()
  }

  private get cache() {
    return this.nodes[0]!.world.cache
  }

  /** The replica follows, and falls behind from now on. */
  replicate(): void {
    this.failOver = this.cache.control.replica()
  }

  one(): void {
    const { chance, seldomTogether } = this
    const node = chance.pick(this.nodes)
    const { world } = node
    if (node.life === undefined) {
      const isAlone = this.nodes.every(({ life }) => life === undefined)
      if (isAlone || !seldomTogether || chance.bool(0.3)) node.begin()
      return
    }
    const { hasCache, clockSteps } = world.settings
    chance.weighted<() => void>([
      [seldomTogether ? 3 : 2, () => this.crash(node)],
      [seldomTogether ? 2 : 1, () => node.stop()],
      [3, () => this.pause(node)],
      [1, () => this.reach(node)],
      [clockSteps ? 1 : 0, () => this.stepClock(node)],
      [hasCache ? 1 : 0, () => this.flushCache(node)],
      [hasCache ? 2 : 0, () => this.failCacheOver(node)]
    ])()
  }

  private crash(node: Node): void {
    this.crashes++
    node.crash()
  }

  private pause(node: Node): void {
    this.pauses++
    // Around a lease's 15 s, and far below.
    node.pause(this.chance.pick([300, 4000, 13_000, 17_000, 24_000]))
  }

  private reach({ name, world }: Node): void {
    world.archiveDown = !world.archiveDown
    world.note(`${name}: the archive is ${world.archiveDown ? "out of reach" : "back"}`)
  }

  private stepClock({ world }: Node): void {
    const step = this.chance.pick([-2000, 3000])
    world.note(`the clock steps by ${step} ms`)
    world.turns.wallOffset += step
  }

  private flushCache({ world }: Node): void {
    world.note("the cache loses everything")
    this.cache.control.flushAll()
  }

  private failCacheOver({ world }: Node): void {
    this.failovers++
    world.note("the cache fails over to a replica that is behind")
    this.failOver()
  }
}
