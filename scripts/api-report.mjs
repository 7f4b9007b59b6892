// Writes every public name with its declaration into one file, so that a change of the surface shows in review.
// With --check it only compares. Reads dist: build first.
import { readFileSync, writeFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const root = join(dirname(fileURLToPath(import.meta.url)), "..")
const report = join(root, "docs", "api-report.md")
const { exports, name } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
const entries = Object.entries(exports).filter(([, target]) => typeof target === "object" && target?.types)
const files = entries.map(([, { types }]) => join(root, types))
const program = ts.createProgram(files, { module: ts.ModuleKind.NodeNext, noEmit: true, skipLibCheck: true })
const checker = program.getTypeChecker()
const printer = ts.createPrinter({ removeComments: true })

const declarationOf = (node) => {
  const whole = ts.isVariableDeclaration(node) ? node.parent.parent : node
  return printer
    .printNode(ts.EmitHint.Unspecified, whole, node.getSourceFile())
    .replace(/^export declare /, "")
}

const categories = [
  "services",
  "layers",
  "constructors",
  "models",
  "options",
  "errors",
  "functions",
  "constants"
]

/** What is missing from the comment of a public name: prose, since when, one of the categories. */
const missingFrom = (symbol) => {
  const documented =
    symbol.declarations?.flatMap((node) => ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc)) ?? []
  const tags = Object.fromEntries(
    symbol.getJsDocTags(checker).map(({ name, text }) => [name, text?.[0]?.text ?? ""])
  )
  return [
    ...(ts.displayPartsToString(symbol.getDocumentationComment(checker)).trim() === "" ? ["prose"] : []),
    ...(tags.since === undefined ? ["@since"] : []),
    ...(categories.includes(tags.category) ? [] : ["@category"]),
    ...(documented.length === 0 ? ["a comment"] : [])
  ]
}

const undocumented = []
const declared = new Map()
const sections = entries.map(([path, { types }], index) => {
  const module = checker.getSymbolAtLocation(program.getSourceFile(files[index]))
  if (module === undefined) throw new Error(`${types} exports nothing: build first`)
  const names = checker.getExportsOfModule(module).sort((a, b) => (a.name < b.name ? -1 : 1))
  const lines = names.map((exported) => {
    const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported
    const own = symbol.declarations?.filter((node) => !node.getSourceFile().fileName.includes("node_modules"))
    const missing = own === undefined || own.length === 0 ? [] : missingFrom(symbol)
    if (missing.length > 0 && !declared.has(symbol))
      undocumented.push(`${path} ${exported.name}: ${missing.join(", ")}`)
    declared.set(symbol, path)
    const text = own?.map(declarationOf).join("\n") ?? `re-exported ${symbol.name}`
    const where = declared.get(text)
    if (where !== undefined) return `${exported.name}: as in ${where}`
    declared.set(text, path)
    return text
  })
  return `## ${path.replace(/^\./, name)}\n\n\`\`\`ts\n${lines.join("\n")}\n\`\`\`\n`
})

const text = `# Public names\n\nWritten by \`npm run api-report\`; \`npm run check\` fails where it is not up to date.\n\n${sections.join("\n")}`
if (undocumented.length > 0) {
  console.error(`public names that lack something:\n${undocumented.join("\n")}`)
  process.exitCode = 1
}
if (!process.argv.includes("--check")) writeFileSync(report, text)
else if (readFileSync(report, "utf8") !== text) {
  console.error(`${relative(root, report)} is not up to date: npm run api-report, and read what has changed`)
  process.exit(1)
}
