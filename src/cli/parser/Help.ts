/** Help of a command, in columns, from its declaration. Pure. */
import type { Command, Part } from "./Command.js"
import { commonOptions } from "./CommandLine.js"

type Row = readonly [name: string, meaning: string]

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

const section = (title: string, rows: ReadonlyArray<Row>): string => {
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

const optionRow = ({ description, isSwitch, name, placeholder, values }: Part<unknown>): Row => {
  const words = values?.join("|")
  if (isSwitch === true) return [words === undefined ? name : `${name}[=${words}]`, description]
  return [`${name} ${placeholder ?? words ?? "VALUE"}`, description]
}

const commonRow = (part: Part<unknown>): Row => {
  const [name, meaning] = optionRow(part)
  return [name === "--help" ? "-h, --help" : name, meaning]
}

const argumentName = ({ name, repeated }: Part<unknown>): string =>
  `<${name}>${repeated === true ? "..." : ""}`

const usageLine = ({ arguments: taken, children }: Command, path: ReadonlyArray<string>): string => {
  const words = taken.map((part) => (part.least === 0 ? `[${argumentName(part)}]` : argumentName(part)))
  return ["sync-engine", ...path, ...(children.length > 0 ? ["COMMAND"] : [...words, "[OPTIONS]"])].join(" ")
}

const exitCodes: ReadonlyArray<Row> = [
  ["0", "Done."],
  ["1", "It failed, was interrupted, or what was compared differs."],
  ["2", "The command line or the configuration is wrong; nothing was done."]
]

/** The help of the command at `path`. */
export const helpText = (command: Command, path: ReadonlyArray<string>, version: string): string =>
  [
    path.length === 0 ? `sync-engine ${version}\n\n` : "",
    `Usage: ${usageLine(command, path)}\n`,
    `\n${wrap(command.description, width).join("\n")}\n`,
    section(
      "Commands:",
      command.children.map(({ description, name }) => [name, description])
    ),
    section(
      "Arguments:",
      command.arguments.map((part) => [argumentName(part), part.description])
    ),
    section("Options:", command.options.map(optionRow)),
    section("Common options:", commonOptions.map(commonRow)),
    `\nExamples:\n${command.examples.map(([line, meaning]) => `  ${line}\n      ${meaning}\n`).join("")}`,
    section("Exit codes:", exitCodes)
  ].join("")
