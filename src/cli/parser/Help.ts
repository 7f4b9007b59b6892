/**
 * Help of a command, in columns. The texts come from the declarations of `@effect/cli`; its own rendering puts every
 * option of every command into one line each.
 */
import type { CliCommand } from "./CliCommand.js"
import type { HelpRow } from "./HelpRows.js"

const width = 100
const widestName = 30

const wrap = (text: string, columns: number): ReadonlyArray<string> => {
  const lines: Array<string> = []
  let line = ""
  for (const word of text.split(/\s+/)) {
    if (line !== "" && line.length + 1 + word.length > columns) {
      lines.push(line)
      line = word
    } else line = line === "" ? word : `${line} ${word}`
  }
  return [...lines, line]
}

const section = (title: string, rows: ReadonlyArray<HelpRow>): string => {
  if (rows.length === 0) return ""
  const column = Math.min(widestName, Math.max(...rows.map(([name]) => name.length))) + 4
  const indent = " ".repeat(column)
  const text = rows.map(([name, meaning]) => {
    const [first = "", ...more] = wrap(meaning, width - column)
    const head = `  ${name}`
    const start = head.length + 2 <= column ? head.padEnd(column) + first : `${head}\n${indent}${first}`
    return [start, ...more.map((line) => indent + line)].join("\n")
  })
  return `\n${title}\n${text.join("\n")}\n`
}

const examplesText = (examples: ReadonlyArray<HelpRow>): string =>
  examples.length === 0
    ? ""
    : `\nExamples:\n${examples.map(([line, meaning]) => `  ${line}\n      ${meaning}`).join("\n")}\n`

const common: ReadonlyArray<HelpRow> = [
  ["-h, --help", "Show this help."],
  ["--version", "Show the version."],
  [
    "--log-level LEVEL",
    "Least level of log lines on standard error: trace, debug, info, warning or error. Default: SYNC_ENGINE_LOG_LEVEL, else info for run and warning for the other commands."
  ],
  [
    "--log-format FORMAT",
    "auto, pretty or json. Default: SYNC_ENGINE_LOG_FORMAT, else auto: pretty on a terminal, json elsewhere."
  ],
  ["--completions SHELL", "Print a completion script for bash, zsh or fish."],
  ["--wizard", "Build the command line by answering questions."]
]

const exitCodes: ReadonlyArray<HelpRow> = [
  ["0", "Done."],
  ["1", "It failed, was interrupted, or what was compared differs."],
  ["2", "The command line or the configuration is wrong; nothing was done."]
]

const usageLine = (definition: CliCommand, path: ReadonlyArray<string>): string =>
  [
    "sync-engine",
    ...path,
    ...(definition.children.length > 0 ? ["COMMAND"] : []),
    ...definition.help.positionals,
    ...(definition.children.length > 0 ? [] : ["[OPTIONS]"])
  ].join(" ")

/** The help of the command at `path`. */
export const helpText = (definition: CliCommand, path: ReadonlyArray<string>, version: string): string => {
  const { help } = definition
  const title = path.length === 0 ? `sync-engine ${version}\n\n` : ""
  return [
    `${title}Usage: ${usageLine(definition, path)}\n`,
    `\n${wrap(help.description, width).join("\n")}\n`,
    section(
      "Commands:",
      definition.children.map((child) => [child.spec.name, child.help.description])
    ),
    section("Arguments:", help.arguments),
    section("Options:", help.options),
    section("Common options:", common),
    examplesText(help.examples),
    section("Exit codes:", exitCodes)
  ].join("")
}
