import { MessageChannel } from "node:worker_threads"
import { describe, expect, it } from "@effect/vitest"
import {
  ContentCopies,
  copyOfContent,
  pinsMemory,
  sharedBufferBytes
} from "../../src/shared/ContentCopies.js"

const contentOf = (length: number, fill: number) => new Uint8Array(length).fill(fill)

describe("copies of contents", () => {
  it("share a buffer while they are small, and are what they were copied from", () => {
    const copies = new ContentCopies()
    const originals = Array.from({ length: 60 }, (_, n) => contentOf(n + 1, n))
    const made = originals.map((content) => copies.copy(content))
    for (const content of originals) content.fill(255)
    expect(made).toEqual(Array.from({ length: 60 }, (_, n) => contentOf(n + 1, n)))
    expect(new Set(made.map(({ buffer }) => buffer)).size).toBe(1)
    expect(made.every((copy) => !pinsMemory(copy))).toBe(true)
  })

  it("have a buffer of their own when they are large", () => {
    const large = contentOf(sharedBufferBytes / 4 + 1, 7)
    const copy = copyOfContent(large)
    expect(copy).toEqual(large)
    expect(copy.buffer.byteLength).toBe(large.length)
    expect(copy.buffer).not.toBe(large.buffer)
  })

  it("stay when one of them is transferred to another thread", () => {
    const copies = new ContentCopies()
    const [sent, kept] = [copies.copy(contentOf(10, 1)), copies.copy(contentOf(10, 2))]
    const { port1, port2 } = new MessageChannel()
    try {
      port1.postMessage(sent, [sent.buffer])
    } catch {
      // From Node 21 on it is refused; before, it is copied.
    }
    port1.close()
    port2.close()
    expect(kept).toEqual(contentOf(10, 2))
  })
})
