/** What the parser says of options and arguments, as rows. */
import * as HelpDoc from "@effect/cli/HelpDoc"

/** A name and what it means. */
export type HelpRow = readonly [name: string, meaning: string]

const escapes = /\u001b\[[0-9;]*m/g

/** The text of a document in one line, without colours. */
export const plainText = (doc: HelpDoc.HelpDoc): string =>
  HelpDoc.toAnsiText(doc).replace(escapes, "").replace(/\s+/g, " ").trim()

const parserSentences = /^This (setting|argument|option) (is optional|may be repeated)/

/** The paragraphs of what the parser says about an option or argument. */
const paragraphs = (doc: HelpDoc.HelpDoc): ReadonlyArray<string> => {
  switch (doc._tag) {
    case "Paragraph":
      return [plainText(doc)]
    case "Sequence":
      return [...paragraphs(doc.left), ...paragraphs(doc.right)]
    default:
      return []
  }
}

/**
 * One row for an option or argument: the parser's own sentences (the type in front, "optional" behind) are left out.
 */
export const rowsOf = (doc: HelpDoc.HelpDoc): ReadonlyArray<HelpRow> =>
  doc._tag === "DescriptionList"
    ? doc.definitions.map(([name, description]) => {
        const [, ...rest] = paragraphs(description)
        const meaning = rest.filter((text) => text !== "" && !parserSentences.test(text))
        return [
          plainText(HelpDoc.p(name))
            .replace(/ text$/, " VALUE")
            .replace(/ \| /g, "|"),
          meaning.join(" ")
        ]
      })
    : doc._tag === "Sequence"
      ? [...rowsOf(doc.left), ...rowsOf(doc.right)]
      : []
