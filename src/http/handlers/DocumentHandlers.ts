/** The API's description of itself. */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as OpenApi from "@effect/platform/OpenApi"
import { Effect } from "effect"
import { Api } from "../api/Api.js"
import { docsPage } from "./DocsPage.js"

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
