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
  Effect.gen(function* () {
    const document = yield* Effect.cached(
      Effect.sync(() => HttpServerResponse.unsafeJson(OpenApi.fromApi(Api)))
    )
    const page = yield* Effect.cached(
      Effect.sync(() =>
        HttpServerResponse.text(docsPage(OpenApi.fromApi(Api)), {
          contentType: "text/html; charset=utf-8",
          headers: { "content-security-policy": contentSecurityPolicy }
        })
      )
    )
    return handlers.handleRaw("openapi", () => document).handleRaw("docs", () => page)
  })
)
