/** Runs a command with `MYSQL_URL` set to a MariaDB or MySQL server that is there for it alone. */
import { spawnSync } from "node:child_process"
import { requireServers, startMysql } from "./servers.js"

const [command, ...args] = process.argv.slice(2)

const main = async () => {
  const given = process.env.MYSQL_URL
  if (given === undefined) requireServers({ mysql: true, redis: false })
  const server = given === undefined ? await startMysql() : undefined
  try {
    const env = { ...process.env, MYSQL_URL: given ?? server!.url }
    process.exitCode = spawnSync(command!, args, { env, stdio: "inherit" }).status ?? 1
  } finally {
    await server?.stop()
  }
}

void main()
