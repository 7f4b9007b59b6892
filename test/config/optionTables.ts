/** The options as tables of docs/configuration.md. */

import { type ConfigOption, engineOptions, serverOptions } from "../../src/config/Options.js"

const cell = (text: string): string => text.replaceAll("|", "\\|")

const row = (option: ConfigOption): string => {
  const { definition, flag, name } = option
  const notes = [definition.live ? "**Live.**" : "", definition.kind === "secret" ? "**Secret.**" : ""]
  const description = [...notes, definition.description].filter((text) => text !== "").join(" ")
  const cells = [
    `\`${name}\``,
    `\`--${flag}\``,
    definition.defaultText,
    definition.range ?? definition.allowed,
    description
  ]
  return `| ${cells.map(cell).join(" | ")} |`
}

const table = (options: ReadonlyArray<ConfigOption>): string =>
  ["| name | flag | default | allowed | what it does |", "|---|---|---|---|---|", ...options.map(row)].join(
    "\n"
  )

/** Markdown tables of all options. */
export const optionTables = (): string =>
  `### The engine\n\n${table(engineOptions)}\n\n### The process\n\n${table(serverOptions)}\n`

const begin = "<!-- options: generated, see src/config/Options.ts -->\n"
const end = "<!-- end of options -->"

/** The page with its tables renewed. Fails by returning `undefined` when the page has no place for them. */
export const withOptionTables = (page: string): string | undefined => {
  const from = page.indexOf(begin)
  const to = page.indexOf(end)
  return from < 0 || to < from
    ? undefined
    : `${page.slice(0, from + begin.length)}\n${optionTables()}\n${page.slice(to)}`
}
