import { describe, expect, it } from "vitest"
import { growth, plot, type Quantity, quantities, type Sample } from "./Samples.js"

const level: Readonly<Record<Quantity, number>> = {
  memory: 150,
  descriptors: 40,
  log: 4,
  pending: 100,
  "put p50": 3,
  "put p99": 30,
  "get p50": 2,
  "get p99": 20
}

/** 100 samples of one life after a short one. */
const run = (at: (n: number) => Partial<Record<Quantity, number | undefined>> = () => ({})) =>
  Array.from({ length: 110 }, (_, n): Sample => {
    return { at: n * 1_000, life: n < 10 ? 1 : 2, values: { ...level, ...at(n) } }
  })

describe("what grew in a long run", () => {
  it("is nothing when all stays as it was, however high an outage goes in between", () => {
    expect(growth(run())).toEqual([])
    expect(growth(run((n) => (n > 40 && n < 50 ? { pending: 50_000, "put p99": undefined } : {})))).toEqual(
      []
    )
  })

  for (const name of Object.keys(quantities) as Array<Quantity>) {
    it(`is ${name}, when it does`, () => {
      const grows = run((n) => ({ [name]: level[name] + n ** 2 }))
      expect(growth(grows)).toEqual([expect.stringContaining(`${name} grew from`)])
    })

    it(`says when ${name} was not measured`, () => {
      expect(growth(run(() => ({ [name]: undefined })))).toEqual([`${name}: not measured`])
    })
  }

  it("cannot be said of lives that are too short", () => {
    expect(growth(run().slice(0, 18))).toEqual(["no life is long enough to be judged: 10 samples"])
  })
})

it("the plot shows the highest, gaps and events", () => {
  const text = plot(
    run((n) => ({ memory: n === 60 ? 300 : n >= 100 ? undefined : 150 })),
    [{ at: 0, sign: "K" }],
    11
  ).split("\n")
  expect(text[0]).toBe("memory       ▅▅▅▅▅▅█▅▅▅   150 / 150 / 300 MiB")
  expect(text.at(-1)).toMatch(/^events {7}K {10} /)
})
