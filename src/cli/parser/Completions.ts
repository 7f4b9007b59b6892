/**
 * Completions, from the declarations of the commands. The parser's own scripts for bash and zsh stop behind the first
 * word of a command whose name holds a dash, and those for zsh and fish offer levels of logs that are refused. Pure.
 */
import { type CommandSpec, globalOptions, type OptionSpec } from "./Argv.js"

/** A command with the words that lead to it. */
interface Place {
  readonly path: string
  readonly command: CommandSpec
}

const places = (command: CommandSpec, path: string): ReadonlyArray<Place> => [
  { path, command },
  ...command.children.flatMap((child) => places(child, path === "" ? child.name : `${path} ${child.name}`))
]

const optionsOf = ({ options }: CommandSpec): ReadonlyArray<OptionSpec> => [...options, ...globalOptions]

const words = (list: ReadonlyArray<string>): string => `"${list.join(" ")}"`

/** One line of a `case`. */
const line = (pattern: string, action: string): string => `    "${pattern}") ${action} ;;\n`

const steps = (all: ReadonlyArray<Place>): string =>
  all
    .flatMap(({ command, path }) =>
      command.children.map(({ name }) =>
        line(`${path}/${name}`, `path="${path === "" ? name : `${path} ${name}`}"`)
      )
    )
    .join("")

const values = (all: ReadonlyArray<Place>): string =>
  all
    .flatMap(({ command, path }) =>
      optionsOf(command).flatMap(({ isSwitch, name, values }) =>
        isSwitch ? [] : [line(`${path}/${name}`, `words=${words(values ?? [])}`)]
      )
    )
    .join("")

const names = (all: ReadonlyArray<Place>): string =>
  all
    .map(({ command, path }) => {
      const children = command.children.map(({ name }) => name)
      const options = optionsOf(command).map(({ name }) => name)
      return line(path, `words=${words(children)}; [[ $cur == -* ]] && words=${words(options)}`)
    })
    .join("")

/**
 * A script that completes commands, options and the values of options that have few; for everything else bash
 * completes file names.
 */
export const bashCompletions = (root: CommandSpec): string => {
  const all = places(root, "")
  return `_sync_engine() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" before="$COMP_CWORD" path="" words="" word
  # Bash takes the = of --name=value for a word of its own.
  [[ $cur == "=" ]] && cur=""
  [[ \${COMP_WORDS[before - 1]} == "=" ]] && ((before -= 1))
  for word in "\${COMP_WORDS[@]:1:$((COMP_CWORD - 1))}"; do
    case "$path/$word" in
${steps(all).replace(/^/gm, "  ").trimEnd()}
    esac
  done
  case "$path/\${COMP_WORDS[before - 1]}" in
${values(all)}    *)
      case "$path" in
${names(all).replace(/^/gm, "    ").trimEnd()}
      esac
      ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o bashdefault -o default -F _sync_engine sync-engine
`
}

/** The same script for zsh, which can read it. */
const zshCompletions = (root: CommandSpec): string =>
  `autoload -Uz compinit bashcompinit
(( $+functions[compdef] )) || compinit
bashcompinit
${bashCompletions(root)}`

/** One line of a `switch`. */
const arm = (pattern: string, list: ReadonlyArray<string>): string =>
  list.length === 0 ? "" : `    case "${pattern}"\n      printf '%s\\n' ${list.join(" ")}\n`

/** The same for fish; for values that are not few, fish completes file names. */
const fishCompletions = (root: CommandSpec): string => {
  const all = places(root, "")
  const steps = all.flatMap(({ command, path }) =>
    command.children.map(
      ({ name }) =>
        `      case "${path}/${name}"\n        set path "${path === "" ? name : `${path} ${name}`}"\n`
    )
  )
  const values = all.flatMap(({ command, path }) =>
    optionsOf(command).map(({ isSwitch, name, values }) =>
      isSwitch ? "" : arm(`${path}/${name}`, values ?? [])
    )
  )
  const names = all.map(({ command, path }) =>
    arm(
      path,
      [...command.children, ...optionsOf(command)].map(({ name }) => name)
    )
  )
  return `function __sync_engine
  set -l typed (commandline -opc)
  set -l path ""
  for word in $typed[2..-1]
    switch "$path/$word"
${steps.join("")}    end
  end
  switch "$path/$typed[-1]"
${values.join("")}    case "*"
      switch "$path"
${names.join("")}      end
  end
end
complete -c sync-engine -a "(__sync_engine)"
`
}

export const completions = (root: CommandSpec, shell: string | undefined): string =>
  shell === "fish" ? fishCompletions(root) : shell === "zsh" ? zshCompletions(root) : bashCompletions(root)
