import { Cause, Effect, Logger } from "effect"

export interface LoggedLine {
  readonly level: string
  readonly message: string
  /** Empty when nothing but the message was logged. */
  readonly cause: string
}

/** Collects what is logged, from INFO on, by effects and by the fibers they start. */
export const logged = () => {
  const lines: Array<LoggedLine> = []
  const logger = Logger.make<unknown, void>(({ cause, logLevel, message }) => {
    const text = Array.isArray(message) ? message.join(" ") : String(message)
    lines.push({
      level: logLevel.label,
      message: text,
      cause: Cause.isEmpty(cause) ? "" : Cause.pretty(cause)
    })
  })
  const provide = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provide(effect, Logger.replace(Logger.defaultLogger, logger))
  return { lines, provide }
}
