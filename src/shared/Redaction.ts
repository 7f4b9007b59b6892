/** Takes secrets out of what drivers and servers say. */

/** From this length on a secret is replaced wherever it stands; a shorter one only as a word of its own. */
const longSecret = 8

const escapeExpression = (text: string): string => text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&")

const wordCharacter = /[\p{L}\p{N}_]/u

/**
 * Replaces every secret in a text, as it is and as it stands in a URL. A short secret that is a part of a longer word
 * is left alone: replacing it would show what it is and make the text unreadable.
 */
export const redact = (text: string, secrets: ReadonlyArray<string>): string => {
  // The longest first: one may be a part of another. In one pass, so that nothing is replaced in a replacement.
  const forms = [
    ...new Set(secrets.flatMap((secret) => [secret, encodeURIComponent(Buffer.from(secret).toString())]))
  ]
    .filter((form) => form !== "")
    .sort((a, b) => b.length - a.length)
    .map((form) => {
      const escaped = escapeExpression(form)
      if (form.length >= longSecret) return escaped
      const before = wordCharacter.test(form[0]!) ? "(?<![\\p{L}\\p{N}_])" : ""
      const after = wordCharacter.test(form[form.length - 1]!) ? "(?![\\p{L}\\p{N}_])" : ""
      return `${before}${escaped}${after}`
    })
  return forms.length === 0 ? text : text.replace(new RegExp(forms.join("|"), "gu"), "***")
}
