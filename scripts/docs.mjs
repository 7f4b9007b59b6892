// Builds the reference of the public names from their comments, after it has compiled every example in them.
import { execFileSync } from "node:child_process"
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const root = join(dirname(fileURLToPath(import.meta.url)), "..")
const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
const sources = Object.values(exports)
  .filter((target) => typeof target === "object")
  .map(({ types }) => types.replace("./dist/", "src/").replace(/\.d\.ts$/, ".ts"))
const run = (command, ...args) =>
  execFileSync(join(root, "node_modules", ".bin", command), args, { cwd: root, stdio: "inherit" })

/** The code of each `@example`, and of each block of TypeScript in the pages. */
const examplesOf = (text, isPage) => {
  const comments = isPage
    ? [text]
    : [...text.matchAll(/\/\*\*[\s\S]*?\*\//g)].map(([comment]) => comment.replace(/^\s*\* ?/gm, ""))
  return comments.flatMap((comment) => [...comment.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code))
}

const work = join(root, "dist-docs", "examples")
rmSync(work, { recursive: true, force: true })
mkdirSync(work, { recursive: true })
const all = execFileSync("git", ["ls-files", "src/*.ts", "src/**/*.ts", "README.md", "docs/*.md"], {
  cwd: root,
  encoding: "utf8"
})
let count = 0
for (const file of all.trim().split("\n")) {
  for (const code of examplesOf(readFileSync(join(root, file), "utf8"), file.endsWith(".md"))) {
    if (!code.includes('effect-sync-engine"')) continue
    writeFileSync(join(work, `${file.replace(/\W/g, "-")}-${count++}.ts`), code)
  }
}
if (count === 0) throw new Error("no example was found")
writeFileSync(
  join(work, "tsconfig.json"),
  JSON.stringify({
    extends: "../../tsconfig.json",
    compilerOptions: { paths: {}, noUnusedLocals: false },
    include: ["*.ts"]
  })
)
run("tsc", "-p", work)
console.log(`${count} examples compiled`)
run("typedoc", ...sources.flatMap((source) => ["--entryPoints", source]))
