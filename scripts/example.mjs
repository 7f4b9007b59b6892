// Runs one of the examples: `npm run example`, `npm run example -- shared-sql`.
import { spawnSync } from "node:child_process"

const name = process.argv[2] ?? "orders"
const folder = `examples/${name}`
const example = ["tsx", "--tsconfig", `${folder}/tsconfig.json`, `${folder}/main.ts`]
const needsMysql = name === "shared-sql"
const command = needsMysql ? ["tsx", "test/support/withMysql.ts", ...example] : example
process.exitCode = spawnSync("npx", ["--no-install", ...command], { stdio: "inherit" }).status ?? 1
