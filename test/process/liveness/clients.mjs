// Clients that write as fast as they can, in a process of their own: node clients.mjs URL '{"writers","lines","bytes","large","largeBytes"}'.
// Prints one line when it is stopped (SIGTERM): lines written, answers by status.
import http from "node:http"

const [url, text] = process.argv.slice(2)
const { bytes = 256, large = 0, largeBytes = 0, lines = 1000, writers = 16 } = JSON.parse(text)
const agent = new http.Agent({ keepAlive: true, maxSockets: writers + large })
const statuses = {}
let written = 0
let stopped = false

const send = (method, path, type, body) =>
  new Promise((resolve) => {
    const request = http.request(
      `${url}${path}`,
      { agent, method, headers: { "content-type": type, "content-length": Buffer.byteLength(body) } },
      (response) => {
        response.on("data", () => {}).on("error", () => resolve(0))
        response.on("end", () => resolve(response.statusCode))
      }
    )
    request.on("error", () => resolve(0))
    request.end(body)
  })

const note = async (status, count) => {
  statuses[status] = (statuses[status] ?? 0) + 1
  if (status === 200 || status === 201) written += count
  // A refused client comes again later.
  else await new Promise((resolve) => setTimeout(resolve, 200))
}

const filling = "x".repeat(Math.max(0, bytes - 40))
const writer = async (number) => {
  for (let batch = 0; !stopped; batch++) {
    let body = ""
    for (let line = 0; line < lines; line++) {
      body += `{"id":"w${number}.${batch}.${line}","content":{"n":${line},"filling":"${filling}"}}\n`
    }
    await note(await send("POST", "/items?results=rejected", "application/x-ndjson", body), lines)
  }
}

const largeBody = () => {
  const part = '{"name":"value","list":[1,2,3,null,true],"nested":{"text":"äöü \\u00e9"}},'
  return `[${part.repeat(Math.floor(largeBytes / Buffer.byteLength(part)))}0]`
}
const largeWriter = async (number) => {
  const body = Buffer.from(largeBody())
  while (!stopped) {
    await note(await send("PUT", `/items/large.${number}`, "application/json", body), 1)
  }
}

process.on("SIGTERM", () => {
  stopped = true
  console.log(JSON.stringify({ written, statuses }))
  process.exit(0)
})
for (let number = 0; number < writers; number++) void writer(number)
for (let number = 0; number < large; number++) void largeWriter(number)
