/** Signals that come before the command is there to take them. Imports nothing, so that it is there at once. */

/** Every signal that would otherwise kill the process before it has shut down. */
const signals = ["SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP"] as const

export type Signal = (typeof signals)[number]

const kept: Array<Signal> = []
let receive = (signal: Signal): void => {
  kept.push(signal)
}

/** From now on these signals are kept instead of killing the process. */
export const catchSignals = (): void => {
  for (const signal of signals) process.on(signal, () => receive(signal))
}

/** Hands over what was kept, and from now on every signal as it comes. */
export const forwardSignals = (receiver: (signal: Signal) => void): void => {
  receive = receiver
  for (const signal of kept.splice(0)) receiver(signal)
}
