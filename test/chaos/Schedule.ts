/** One seeded order of faults. Each kind comes once before one comes again; some stand at the same time. */
import type { Chance } from "../process/durability/Chance.js"
import { now, sleep } from "./Common.js"
import type { Fault, Part } from "./ServerFaults.js"

export interface Stood {
  readonly kind: string
  readonly from: number
  readonly to: number
}

export interface ScheduleOptions {
  readonly chance: Chance
  readonly faults: ReadonlyArray<Fault>
  readonly seconds: number
  readonly onStood: (stood: Stood) => void
  /** After each round of all kinds. */
  readonly rest: () => Promise<void>
}

const shuffled = <A>(all: ReadonlyArray<A>, chance: Chance): ReadonlyArray<A> => {
  const left = [...all]
  return Array.from(all, () => left.splice(chance.below(left.length), 1)[0]!)
}

/** Resolves when the time is over and every fault has ended; rejects when one could not. */
export const play = async ({ chance, faults, onStood, rest, seconds }: ScheduleOptions): Promise<void> => {
  const end = now() + seconds * 1_000
  const busy = new Map<Part, Promise<void>>()
  const standing = new Set<Promise<void>>()
  let failed: unknown

  const stand = async (fault: Fault, own: Chance): Promise<void> => {
    const from = now()
    const [least, most] = fault.lasts
    const lasts = own.between(least, most)
    const over = await fault.begin(own)
    if (over === undefined) return
    await sleep(lasts)
    await over()
    onStood({ kind: fault.kind, from, to: now() })
  }

  /** Resolves when it has been given its turn. */
  const begin = async (fault: Fault): Promise<void> => {
    for (;;) {
      const waits = fault.parts.flatMap((part) => busy.get(part) ?? [])
      if (waits.length === 0) break
      await Promise.all(waits)
    }
    const over = stand(fault, chance.fork())
      .catch((error) => {
        failed ??= new Error(`${fault.kind}: ${String(error)}`, { cause: error })
      })
      .then(() => {
        standing.delete(over)
        for (const part of fault.parts) busy.delete(part)
      })
    standing.add(over)
    for (const part of fault.parts) busy.set(part, over)
  }

  while (now() < end && failed === undefined) {
    for (const fault of shuffled(faults, chance)) {
      if (now() >= end || failed !== undefined) break
      await begin(fault)
      if (chance.next() < 0.6) await busy.get(fault.parts[0]!)
      await sleep(chance.between(50, 1_200))
    }
    await Promise.all(standing)
    if (now() < end) await rest()
  }
  await Promise.all(standing)
  if (failed !== undefined) throw failed
}
