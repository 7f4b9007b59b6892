/**
 * What one call of the script that writes is to change: items, each with the stamp that it must still have; what that
 * adds to the nodes of the tree; and the lists of names. Decided and added up here, so that the server, which has one
 * thread for all, only compares and stores.
 */
import { sumToHex } from "../merkle/Digest.js"
import { ancestors, splitPath, type Total, TreeDelta } from "../merkle/TreeDelta.js"
import type { ItemRecord } from "../SyncItem.js"
import {
  type Stamp,
  stampBytes,
  stampIn,
  stampOf,
  type ValueHead,
  valueBound,
  valueHeadIn,
  writeStamp,
  writeValue
} from "./ItemValue.js"

/** What stands at an id's key. */
export interface Held {
  /** None when nothing of ours stands there. */
  readonly stamp: Stamp | undefined
  /** None when it is damaged. */
  readonly head: ValueHead | undefined
  /** Its stamp, or what stands in the place of one, byte for byte; none when the stamp is what it should be. */
  readonly bytes: Buffer | undefined
}

export const nothingHeld: Held = { stamp: undefined, head: undefined, bytes: undefined }

/** What stands in a head that the server returned. */
export const heldIn = (id: string, head: Buffer): Held =>
  head.length === 0
    ? nothingHeld
    : { stamp: stampIn(head), head: valueHeadIn(id, head), bytes: stampOf(head) }

/** How an item is written. In the tree it has no time to live. */
export type How = "inTree" | "expiring" | "tombstone" | "keepingTime" | "removed" | "adopted"

// As the script knows them.
const codes: Readonly<Record<How, number>> = {
  inTree: 0,
  expiring: 1,
  tombstone: 2,
  keepingTime: 3,
  removed: 4,
  adopted: 5
}

/** Of an epoch, as stamps hold it. Its first character is the format of the keys. */
export const epochNumber = (epoch: string): number => Number.parseInt(epoch.slice(1), 16)

interface Change {
  readonly id: string
  readonly held: Held
  readonly how: How
  readonly record: ItemRecord | undefined
}

class Lists {
  private readonly byParent = new Map<string, Array<string>>()

  add(parent: string, name: string): void {
    const names = this.byParent.get(parent)
    if (names === undefined) this.byParent.set(parent, [name])
    else names.push(name)
  }

  get bound(): number {
    let bound = 0
    for (const [parent, names] of this.byParent) {
      bound += 5 + parent.length * 3
      for (const name of names) bound += 2 + name.length * 3
    }
    return bound
  }

  write(out: Buffer, at: number, command: number): number {
    let end = at
    for (const [parent, names] of this.byParent) {
      end = writeText(out, parent, out.writeUInt8(command, end))
      end = out.writeUInt16BE(names.length, end)
      for (const name of names) end = writeText(out, name, end)
    }
    return end
  }
}

const writeText = (out: Buffer, text: string, at: number): number => {
  const length = out.write(text, at + 2, "utf8")
  return out.writeUInt16BE(length, at) + length
}

export class ItemChanges {
  private readonly changes: Array<Change> = []
  private readonly delta = new TreeDelta()
  private readonly added = new Lists()
  private readonly removed = new Lists()
  /** Nodes that are to be listed although they are there already. */
  private readonly listed = new Set<string>()
  private readonly mark: number

  /**
   * @param epoch the tree that counts what is written
   * @param known what the changes add to the nodes, where that has been added up already
   */
  constructor(
    readonly epoch: string,
    private readonly known?: ReadonlyMap<string, Total> | undefined
  ) {
    this.mark = epochNumber(epoch)
  }

  /** Whether the tree counts what is held. */
  counts({ stamp }: Held): boolean {
    return stamp !== undefined && stamp.epoch === this.mark
  }

  /** `relist`: what is written is what was there, and its lists may be what is damaged. */
  write(
    record: ItemRecord,
    held: Held,
    how: "inTree" | "expiring" | "tombstone" | "keepingTime",
    relist = false
  ): void {
    this.change({ id: record.id, held, how, record }, relist)
  }

  remove(id: string, held: Held): void {
    this.change({ id, held, how: "removed", record: undefined })
    // Also what is listed and no longer there.
    if (!this.counts(held)) this.unlist(id)
  }

  /** Lets an item of an earlier tree into this one. */
  adopt(id: string, held: Held): void {
    this.change({ id, held, how: "adopted", record: undefined })
  }

  private change(change: Change, relist = false): void {
    this.changes.push(change)
    const { held, how, id, record } = change
    const before = this.counts(held) ? held.stamp : undefined
    const after = how === "inTree" ? record : how === "adopted" ? held.stamp : undefined
    if (this.known === undefined) {
      this.delta.change(before && { id, ...before }, after && { ...after, id })
    }
    if (after === undefined) {
      if (before !== undefined) this.unlist(id)
    } else if (before === undefined || relist) {
      const { name, parent = "" } = splitPath(id)
      this.added.add(parent, name)
      if (relist) for (const path of ancestors(id)) this.listed.add(path)
    }
  }

  private unlist(id: string): void {
    const { name, parent = "" } = splitPath(id)
    this.removed.add(parent, name)
  }

  /** The arguments: the items, the nodes and the lists. */
  encode(): [Buffer, Buffer, Buffer] {
    return [this.encodeItems(), this.encodeNodes(), this.encodeLists()]
  }

  private encodeItems(): Buffer {
    let bound = 0
    for (const { id, record } of this.changes) {
      bound += 1 + 2 + id.length * 3 + 1 + stampBytes + 4 + (record === undefined ? 4 : valueBound(record))
    }
    const out = Buffer.allocUnsafe(bound)
    let at = 0
    for (const { held, how, id, record } of this.changes) {
      at = writeText(out, id, out.writeUInt8(codes[how], at))
      const { bytes, stamp } = held
      const was = at + 1
      if (bytes !== undefined) at = was + bytes.copy(out, was)
      else at = stamp === undefined ? was : writeStamp(out, was, stamp, stamp.epoch)
      out[was - 1] = at - was
      const value = at + 4
      if (record !== undefined) at = writeValue(out, value, record, how === "inTree" ? this.mark : 0)
      else at = how === "adopted" ? out.writeUInt32BE(this.mark, value) : value
      out.writeUInt32BE(at - value, value - 4)
    }
    return out.subarray(0, at)
  }

  private encodeNodes(): Buffer {
    const totals = this.known ?? this.delta.toMap()
    let bound = 0
    for (const path of totals.keys()) bound += 1 + 2 + path.length * 3 + 40
    for (const path of this.listed) bound += 1 + 2 + path.length * 3 + 40
    const out = Buffer.allocUnsafe(bound)
    let at = 0
    const write = (path: string, { count, sum }: Total, listed: boolean) => {
      at = writeText(out, path, out.writeUInt8(listed ? 1 : 0, at))
      at = out.writeDoubleBE(count, at)
      at += out.write(sumToHex(sum), at, "hex")
    }
    for (const [path, total] of totals) write(path, total, this.listed.has(path))
    for (const path of this.listed) if (!totals.has(path)) write(path, { count: 0, sum: 0n }, true)
    return out.subarray(0, at)
  }

  private encodeLists(): Buffer {
    const out = Buffer.allocUnsafe(this.added.bound + this.removed.bound)
    return out.subarray(0, this.removed.write(out, this.added.write(out, 0, 0), 1))
  }
}
