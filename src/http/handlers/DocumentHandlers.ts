/**
 * The API's description of itself: the OpenAPI document, and a page rendered from it, one without script, font or image, so that it
 * works without a network and under the strictest content security policy.
 */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as OpenApi from "@effect/platform/OpenApi"
import { Effect } from "effect"
import { Api } from "../api/Api.js"

const escapes: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;"
}

const escape = (text: string): string => text.replace(/[&<>"']/g, (character) => escapes[character]!)

const code = (text: string): string => `<code>${escape(text)}</code>`

/** Text with `code` in backticks. */
const prose = (text: string): string =>
  text
    .split("`")
    .map((part, index) => (index % 2 === 1 ? code(part) : escape(part)))
    .join("")

const json = (value: unknown): string => `<pre>${escape(JSON.stringify(value, undefined, 2))}</pre>`

const table = (heads: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string =>
  rows.length === 0
    ? ""
    : `<table><thead><tr>${heads.map((head) => `<th>${escape(head)}</th>`).join("")}</tr></thead><tbody>${rows
        .map((cells) => `<tr>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`)
        .join("")}</tbody></table>`

const nameOf = (reference: string): string => reference.slice(reference.lastIndexOf("/") + 1)

/** A schema in a few words where it has a name or is simple, else as JSON. */
const schemaText = (schema: unknown): string => {
  const { $ref, type, format, ...more } = schema as Readonly<Record<string, unknown>>
  if (typeof $ref === "string") return `<a href="#schema-${escape(nameOf($ref))}">${escape(nameOf($ref))}</a>`
  const values = more.enum
  if (Array.isArray(values)) return values.map((value) => code(String(value))).join(" ")
  if (typeof type === "string" && more.properties === undefined) {
    const bounds = more.minimum === undefined ? "" : ` ${String(more.minimum)} to ${String(more.maximum)}`
    return escape(`${type}${typeof format === "string" ? ` (${format})` : ""}${bounds}`)
  }
  return Object.keys(more).length === 0 ? "any" : json(schema)
}

const contentText = (content: object | undefined): string =>
  Object.entries(content ?? {})
    .map(([type, media]) => `${code(type)}: ${schemaText((media as { readonly schema: unknown }).schema)}`)
    .join("<br>")

const parameterRow = (parameter: OpenApi.OpenAPISpecParameter): ReadonlyArray<string> => [
  code(parameter.name),
  escape(parameter.in) + (parameter.required ? ", required" : ""),
  schemaText(parameter.schema),
  prose(parameter.description ?? "")
]

const headerNames = (response: object): string =>
  Object.keys((response as { readonly headers?: object }).headers ?? {})
    .map(code)
    .join(" ")

const operationHtml = (path: string, method: string, operation: OpenApi.OpenAPISpecOperation): string => {
  const body = operation.requestBody?.content
  return [
    `<section id="${escape(operation.operationId)}">`,
    `<h3><span class="method">${escape(method.toUpperCase())}</span> ${code(path)}</h3>`,
    `<p><strong>${prose(operation.summary ?? "")}.</strong> ${prose(operation.description ?? "")}</p>`,
    table(["Parameter", "In", "Type", ""], operation.parameters.map(parameterRow)),
    body === undefined ? "" : `<p>Body: ${contentText(body)}</p>`,
    table(
      ["Status", "Meaning", "Body", "Headers"],
      Object.entries(operation.responses).map(([status, response]) => [
        code(status),
        prose(response.description),
        contentText(response.content),
        headerNames(response)
      ])
    ),
    "</section>"
  ].join("")
}

const style = `body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2530;background:#fff}
code,pre{font:14px/1.4 ui-monospace,monospace}pre{background:#f4f6f8;padding:.75rem;overflow:auto}
table{border-collapse:collapse;width:100%;margin:.5rem 0}td,th{border:1px solid #d5dce3;padding:.3rem .5rem;text-align:left;vertical-align:top}
section{border-top:1px solid #d5dce3;margin-top:1.5rem}.method{color:#0b5cad}
@media (prefers-color-scheme:dark){body{background:#12171d;color:#dfe6ee}pre{background:#1c242d}td,th,section{border-color:#33404d}a,.method{color:#7ab8ff}}`

const docsPage = (document: OpenApi.OpenAPISpec): string => {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation }))
  )
  const groups = document.tags.map(({ name, description }) => {
    const members = operations.filter(({ operation }) => operation.tags.includes(name))
    const about = description === undefined ? "" : `<p>${prose(description)}</p>`
    return `<h2>${escape(name)}</h2>${about}${members
      .map(({ path, method, operation }) => operationHtml(path, method, operation))
      .join("")}`
  })
  const schemas = Object.entries(document.components.schemas).map(
    ([name, schema]) => `<h3 id="schema-${escape(name)}">${escape(name)}</h3>${json(schema)}`
  )
  const contents = operations
    .map(
      ({ path, method, operation }) =>
        `<li><a href="#${escape(operation.operationId)}">${code(`${method.toUpperCase()} ${path}`)}</a> ${prose(operation.summary ?? "")}</li>`
    )
    .join("")
  return `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(document.info.title)} ${escape(document.info.version)}</title><style>${style}</style></head>
<body><h1>${escape(document.info.title)} ${escape(document.info.version)}</h1>
<p>${prose(document.info.description ?? "")}</p><p><a href="openapi.json">openapi.json</a></p>
<ul>${contents}</ul>${groups.join("")}<h2>Schemas</h2>${schemas.join("")}</body></html>
`
}

/** Nothing may be loaded from anywhere, and nothing may run. */
const contentSecurityPolicy =
  "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

export const DocumentHandlers = HttpApiBuilder.group(Api, "documents", (handlers) =>
  Effect.map(
    Effect.cached(
      Effect.sync(() =>
        HttpServerResponse.text(docsPage(OpenApi.fromApi(Api)), {
          contentType: "text/html; charset=utf-8",
          headers: { "content-security-policy": contentSecurityPolicy }
        })
      )
    ),
    (page) =>
      handlers
        .handle("openapi", () => Effect.sync(() => OpenApi.fromApi(Api)))
        // Only a whole response has headers of its own.
        .handleRaw("docs", () => page)
  )
)
