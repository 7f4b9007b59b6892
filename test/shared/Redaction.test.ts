import { describe, expect, it } from "vitest"
import { redact } from "../../src/shared/Redaction.js"

describe("redact", () => {
  it("replaces a secret as it is and as it stands in a URL", () => {
    expect(redact("user:p@ss/w or user:p%40ss%2Fw", ["p@ss/w", ""])).toBe("user:*** or user:***")
  })

  it("leaves words alone that a short secret is a part of", () => {
    expect(redact("WRONGPASS invalid username-password pair", ["u", "pass", "a"])).toBe(
      "WRONGPASS invalid username-password pair"
    )
    expect(redact("AUTH 'pass' u:a@host", ["u", "pass", "a"])).toBe("AUTH '***' ***:***@host")
  })

  it("replaces the longest first, whatever the order, and never within a replacement", () => {
    const text = "secret and secret-and-more"
    expect(redact(text, ["secret", "secret-and-more"])).toBe("*** and ***")
    expect(redact(text, ["secret-and-more", "secret"])).toBe("*** and ***")
    expect(redact("x ** y secret-and-more", ["*", "secret-and-more"])).toBe("x ****** y ***")
  })

  it("replaces a long secret also inside of words, and any character of it", () => {
    expect(redact("xS3cret+p[a]ss$wörd/x", ["S3cret+p[a]ss$wörd"])).toBe("x***/x")
    expect(redact("käse, käsebrot", ["käse"])).toBe("***, käsebrot")
    expect(redact("a\ud800b", ["\ud800"])).toBe("a***b")
  })
})
