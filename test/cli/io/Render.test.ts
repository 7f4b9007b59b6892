import { expect, it } from "vitest"
import { documentText } from "../../../src/cli/io/Render.js"

it("a document is shown without what it does not say, its figures rounded", () => {
  const shown = documentText({ a: { b: undefined, c: null, d: 91.516845703125 }, e: [], f: true })
  expect(shown).toBe("a.c  none\na.d  91.517\ne    none\nf    true\n")
})
