/** Completion scripts, from the declarations of the commands. Pure. */
import type { Command } from "./Command.js"
import { commonOptions } from "./CommandLine.js"

/** A command with the words that lead to it. */
interface Place {
  readonly path: string
  readonly command: Command
}

const placesOf = (command: Command, path = ""): ReadonlyArray<Place> => [
  { path, command },
  ...command.children.flatMap((child) => placesOf(child, `${path} ${child.name}`.trim()))
]

/** What is matched and what is done then, as both shells' scripts need it. */
const casesOf = (root: Command) => {
  const all = placesOf(root).map(({ command, path }) => ({
    path,
    names: command.children.map(({ name }) => name),
    options: [...command.options, ...commonOptions]
  }))
  return {
    /** `path/word` → the path behind that word. */
    steps: all.flatMap(({ names, path }) =>
      names.map((name) => [`${path}/${name}`, `${path} ${name}`.trim()] as const)
    ),
    /** `path/--option` → the values it takes, if they are few. */
    values: all.flatMap(({ options, path }) =>
      options
        .filter(({ isSwitch }) => isSwitch !== true)
        .map(({ name, values = [] }) => [`${path}/${name}`, values] as const)
    ),
    /** A path → the commands below it, and its options. */
    places: all.map(({ names, options, path }) => [path, names, options.map(({ name }) => name)] as const)
  }
}

const bashCase = (indent: string, pattern: string, action: string): string =>
  `${indent}"${pattern}") ${action} ;;\n`

const quoted = (words: ReadonlyArray<string>): string => `"${words.join(" ")}"`

/**
 * A script that completes commands, options and the values of options that have few; for everything else bash
 * completes file names.
 */
const bashCompletions = (root: Command): string => {
  const { places, steps, values } = casesOf(root)
  return `_sync_engine() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" before="$COMP_CWORD" path="" words="" word
  # Bash takes the = of --name=value for a word of its own.
  [[ $cur == "=" ]] && cur=""
  [[ \${COMP_WORDS[before - 1]} == "=" ]] && ((before -= 1))
  for word in "\${COMP_WORDS[@]:1:$((COMP_CWORD - 1))}"; do
    case "$path/$word" in
${steps.map(([pattern, path]) => bashCase("      ", pattern, `path="${path}"`)).join("")}    esac
  done
  case "$path/\${COMP_WORDS[before - 1]}" in
${values.map(([pattern, words]) => bashCase("    ", pattern, `words=${quoted(words)}`)).join("")}    *)
      case "$path" in
${places
  .map(([path, commands, options]) =>
    bashCase("        ", path, `words=${quoted(commands)}; [[ $cur == -* ]] && words=${quoted(options)}`)
  )
  .join("")}      esac
      ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o bashdefault -o default -F _sync_engine sync-engine
`
}

/** The same script for zsh, which can read it. */
const zshCompletions = (root: Command): string =>
  `autoload -Uz compinit bashcompinit
(( $+functions[compdef] )) || compinit
bashcompinit
${bashCompletions(root)}`

const fishCase = (pattern: string, words: ReadonlyArray<string>): string =>
  words.length === 0 ? "" : `    case "${pattern}"\n      printf '%s\\n' ${words.join(" ")}\n`

/** The same for fish; for values that are not few, fish completes file names. */
const fishCompletions = (root: Command): string => {
  const { places, steps, values } = casesOf(root)
  return `function __sync_engine
  set -l typed (commandline -opc)
  set -l path ""
  for word in $typed[2..-1]
    switch "$path/$word"
${steps.map(([pattern, path]) => `      case "${pattern}"\n        set path "${path}"\n`).join("")}    end
  end
  switch "$path/$typed[-1]"
${values.map(([pattern, words]) => fishCase(pattern, words)).join("")}    case "*"
      switch "$path"
${places.map(([path, commands, options]) => fishCase(path, [...commands, ...options])).join("")}      end
  end
end
complete -c sync-engine -a "(__sync_engine)"
`
}

export const completions = (root: Command, shell: string): string =>
  shell === "fish" ? fishCompletions(root) : shell === "zsh" ? zshCompletions(root) : bashCompletions(root)
