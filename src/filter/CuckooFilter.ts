/**
 * A cuckoo filter over ids: says "certainly not added" or "probably added".
 *
 * Source: B. Fan, D. G. Andersen, M. Kaminsky, M. D. Mitzenmacher: "Cuckoo Filter: Practically Better Than
 * Bloom", CoNEXT 2014. Fingerprints of 16 bits in buckets of 4, two buckets a key.
 *
 * **Why nothing is ever removed.** `add` cannot tell a known key from another key with the same fingerprint and
 * bucket; in both cases it finds a matching fingerprint and inserts nothing. So one fingerprint may stand for
 * several keys, and taking it out for one of them would deny the others. Keeping one copy a key instead would
 * need a caller who knows, without asking the archive, that a key is new. Since a trusted filter must never deny
 * what is stored, fingerprints stay until the filter is rebuilt: a deleted key is "probably" there until then
 * and costs its readers one question to the archive. The rule is safe by construction: bits are only ever added,
 * kicks only move them, a failed insertion is undone.
 */
import { IdHash } from "../shared/IdHash.js"
import { FilterLayer, maxLayerCapacity, slotsPerBucket } from "./FilterLayer.js"

/** The share of false positives above which a filter asks to be rebuilt: 0.02 %. */
export const maxFalsePositiveRate = 0.0002

const defaultSeed = 0x5ec0_0f11
const magic = 0x4643_4553 // "SECF" in little-endian order
const formatVersion = 1
const headerBytes = 24
const layerHeaderBytes = 12
const maxLayers = 32

/**
 * Grows by layers, each twice as large as the one before, when the last one has reached its design fill of 95 %.
 * At the design fill of the first layer (`capacity` keys) it takes at most 17 bits a key and says falsely
 * "probably" in 0.012 % of cases. Every full layer adds that much; beyond 0.02 % in total `shouldRebuild` is true.
 *
 * @example
 * ```ts
 * const filter = new CuckooFilter({ capacity: 1_000_000 })
 * filter.add("geo.fr.11.2988507") // true
 * filter.has("geo.fr.11.2988507") // true
 * ```
 */
export class CuckooFilter {
  readonly #capacity: number
  readonly #seed: number
  readonly #hash: IdHash
  #layers: Array<FilterLayer>

  /**
   * `capacity`: expected number of keys, 1 to 268,435,456; fewer than 256 are taken as 256. Throws a `RangeError`
   * otherwise. `seed`: any 32-bit integer; it changes which keys collide.
   */
  constructor(options: { readonly capacity: number; readonly seed?: number | undefined }) {
    const { capacity } = options
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > maxLayerCapacity) {
      throw new RangeError(`capacity must be a whole number from 1 to ${maxLayerCapacity}; got ${capacity}`)
    }
    this.#capacity = Math.max(capacity, 256)
    this.#seed = (options.seed ?? defaultSeed) >>> 0
    this.#hash = new IdHash(this.#seed)
    this.#layers = [this.#newLayer(this.#capacity)]
  }

  /** Keys expected by design: those of the first layer. */
  get capacity(): number {
    return this.#capacity
  }

  /** Fingerprints held: the distinct keys added, less the few that share a fingerprint. */
  get count(): number {
    return this.#layers.reduce((sum, { count }) => sum + count, 0)
  }

  get layers(): number {
    return this.#layers.length
  }

  /** Bytes of the tables. */
  get bytes(): number {
    return this.#layers.reduce((sum, { table }) => sum + table.byteLength, 0)
  }

  /** Bits of the tables per fingerprint held; `Infinity` when empty. */
  get bitsPerKey(): number {
    return (this.bytes * 8) / this.count
  }

  /** The expected share of absent keys that get the answer "probably", 0 to 1, computed from the fill. */
  get falsePositiveRate(): number {
    return 1 - this.#layers.reduce((denied, layer) => denied * (1 - layer.falsePositiveRate), 1)
  }

  /** Whether growth has pushed the false positives above `maxFalsePositiveRate`: build a larger one. */
  get shouldRebuild(): boolean {
    return this.falsePositiveRate > maxFalsePositiveRate
  }

  /**
   * Makes sure that `has(id)` is true from now on. Returns whether a fingerprint was inserted; `false` means that
   * one was there already, from this id or another.
   */
  add(id: string): boolean {
    const hash = this.#hash
    const layers = this.#layers
    hash.of(id)
    const position = hash.low >>> 0
    const fingerprint = hash.high & 0xffff || 1
    for (const layer of layers) if (layer.has(position, fingerprint)) return false
    const last = layers[layers.length - 1]!
    if (last.count < last.capacity && last.insert(position, fingerprint)) return true
    const larger = this.#newLayer(Math.min(last.capacity * 2, maxLayerCapacity))
    layers.push(larger)
    // Into an empty layer the first insertion always succeeds.
    return larger.insert(position, fingerprint)
  }

  /** `false`: certainly never added. `true`: added, or one of the few false positives. */
  has(id: string): boolean {
    const hash = this.#hash
    const layers = this.#layers
    hash.of(id)
    const position = hash.low >>> 0
    const fingerprint = hash.high & 0xffff || 1
    // The newest layer is the largest.
    for (let at = layers.length - 1; at >= 0; at--) {
      if (layers[at]!.has(position, fingerprint)) return true
    }
    return false
  }

  /**
   * The filter as bytes, all numbers little-endian: magic, format version, seed, capacity, layer count and a zero
   * (32 bits each); for each layer its bucket count, capacity and fingerprint count; then the tables. There is
   * no checksum: `FilterSnapshot` adds one. Copies the tables, about 0.5 ms a megabyte; leaves so many bytes free
   * before and behind them.
   */
  toBytes(before = 0, behind = 0): Uint8Array {
    const layers = this.#layers
    const tablesAt = before + headerBytes + layerHeaderBytes * layers.length
    const bytes = new Uint8Array(tablesAt + this.bytes + behind)
    const view = new DataView(bytes.buffer, before)
    for (const [index, value] of this.#header().entries()) view.setUint32(index * 4, value, true)
    let at = tablesAt
    for (const layer of layers) {
      bytes.set(layer.toBytes(), at)
      at += layer.table.byteLength
    }
    return bytes
  }

  /**
   * The filter that `toBytes` wrote, or what is wrong with the bytes. Refuses a wrong format, sizes that do not
   * agree, and tables that do not hold as many fingerprints as they claim; never throws.
   */
  static fromBytes(bytes: Uint8Array): CuckooFilter | string {
    if (bytes.byteLength < headerBytes) return "is shorter than a filter's header"
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const field = (index: number) => view.getUint32(index * 4, true)
    if (field(0) !== magic) return "is not a filter"
    if (field(1) !== formatVersion) return `has filter format ${field(1)}, not ${formatVersion}`
    const capacity = field(3)
    const layerCount = field(4)
    if (capacity < 256 || capacity > maxLayerCapacity) return "has an impossible capacity"
    if (layerCount < 1 || layerCount > maxLayers) return "has an impossible number of layers"
    // The sizes follow from the two: nothing is allocated for bytes that are not there.
    const capacities = Array.from({ length: layerCount }, (_, at) =>
      Math.min(capacity * 2 ** at, maxLayerCapacity)
    )
    let at = headerBytes + layerHeaderBytes * layerCount
    const whole = capacities.reduce(
      (sum, each) => sum + FilterLayer.bucketsFor(each) * slotsPerBucket * 2,
      at
    )
    if (bytes.byteLength !== whole) return `has ${bytes.byteLength} bytes instead of ${whole}`
    const filter = new CuckooFilter({ capacity, seed: field(2) })
    filter.#layers = capacities.map((each) => {
      const layer = filter.#newLayer(each)
      layer.fill(bytes.subarray(at, at + layer.table.byteLength))
      at += layer.table.byteLength
      return layer
    })
    const agrees = filter.#header().every((value, index) => value === field(index))
    return agrees ? filter : "has layers that are not those of its header"
  }

  #header(): ReadonlyArray<number> {
    const shapes = this.#layers.flatMap(({ buckets, capacity, count }) => [buckets, capacity, count])
    return [magic, formatVersion, this.#seed, this.#capacity, this.#layers.length, 0, ...shapes]
  }

  #newLayer(capacity: number): FilterLayer {
    return new FilterLayer(capacity, this.#seed)
  }
}
