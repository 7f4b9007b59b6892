/** Numbers, sizes and durations as people write them, and back. */
import { Either } from "effect"

const shown = (text: string): string => JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text)

const kib = 1024
const second = 1000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

const byteUnits: ReadonlyArray<readonly [unit: string, bytes: number]> = [
  ["TiB", kib ** 4],
  ["GiB", kib ** 3],
  ["MiB", kib ** 2],
  ["KiB", kib],
  ["B", 1]
]

const durationUnits: ReadonlyArray<readonly [unit: string, ms: number, words: ReadonlyArray<string>]> = [
  ["days", day, ["d", "day", "days"]],
  ["h", hour, ["h", "hour", "hours"]],
  ["min", minute, ["m", "min", "minute", "minutes"]],
  ["s", second, ["s", "sec", "second", "seconds"]],
  ["ms", 1, ["", "ms", "milli", "millis", "millisecond", "milliseconds"]]
]

const quantity = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i
const isoDuration =
  /^p(?:(\d+(?:\.\d+)?)d)?(?:t(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?)?$/i

/** Digits only, perhaps with a sign. */
export const parseInteger = (text: string): Either.Either<number, string> =>
  /^-?\d+$/.test(text) && Number.isSafeInteger(Number(text))
    ? Either.right(Number(text))
    : Either.left(`${shown(text)} is not an integer`)

/** Bytes, or a number with B, KiB, MiB, GiB or TiB. */
export const parseBytes = (text: string): Either.Either<number, string> => {
  const match = quantity.exec(text)
  if (match === null) return Either.left(`${shown(text)} is not a size`)
  const word = match[2]!.toLowerCase()
  const unit = word === "" ? 1 : byteUnits.find(([name]) => name.toLowerCase() === word)?.[1]
  if (unit === undefined) {
    return Either.left(`${shown(text)} has an unknown unit; sizes take B, KiB, MiB, GiB or TiB`)
  }
  const bytes = Number(match[1]) * unit
  return Number.isSafeInteger(bytes)
    ? Either.right(bytes)
    : Either.left(`${shown(text)} is not a whole number of bytes`)
}

const wholeMs = (text: string, ms: number): Either.Either<number, string> => {
  const rounded = Math.round(ms)
  // Decimal fractions of a unit such as 0.07 s are a hair off in binary.
  return Number.isSafeInteger(rounded) && Math.abs(ms - rounded) < 1e-6
    ? Either.right(rounded)
    : Either.left(`${shown(text)} is not a whole number of milliseconds`)
}

/** Milliseconds, a number with a unit (`5 s`, `100 millis`), or ISO 8601 (`PT5S`). */
export const parseDuration = (text: string): Either.Either<number, string> => {
  const match = quantity.exec(text)
  if (match !== null) {
    const word = match[2]!.toLowerCase()
    const unit = durationUnits.find(([, , words]) => words.includes(word))?.[1]
    return unit === undefined
      ? Either.left(`${shown(text)} has an unknown unit; durations take ms, s, min, h or days`)
      : wholeMs(text, Number(match[1]) * unit)
  }
  const iso = isoDuration.exec(text)
  if (iso === null || iso.slice(1).every((part) => part === undefined)) {
    return Either.left(`${shown(text)} is not a duration`)
  }
  const [days, hours, minutes, seconds] = iso.slice(1).map((part) => Number(part ?? 0))
  return wholeMs(text, days! * day + hours! * hour + minutes! * minute + seconds! * second)
}

const yes = ["true", "on", "yes", "1"]
const no = ["false", "off", "no", "0"]

/** `true`, `on`, `yes`, `1` or `false`, `off`, `no`, `0`. */
export const parseBoolean = (text: string): Either.Either<boolean, string> => {
  const word = text.toLowerCase()
  return yes.includes(word) || no.includes(word)
    ? Either.right(yes.includes(word))
    : Either.left(`${shown(text)} is neither true nor false`)
}

/** `1,000,000`; numbers of up to four digits stand unbroken, as ports do. */
export const formatInteger = (value: number): string =>
  Math.abs(value) < 10_000 ? String(value) : String(value).replace(/\B(?=(\d{3})+$)/g, ",")

const inUnits = (
  value: number,
  units: ReadonlyArray<readonly [string, number, ...ReadonlyArray<unknown>]>
) => {
  const [name, size] = units.find(([, unit]) => value >= unit && value % unit === 0) ?? units.at(-1)!
  return `${formatInteger(value / size)} ${value === size && name === "days" ? "day" : name}`
}

/** In the largest unit that fits without a fraction. */
export const formatBytes = (bytes: number): string => inUnits(bytes, byteUnits)

/** In the largest unit that fits without a fraction. */
export const formatDuration = (ms: number): string => inUnits(ms, durationUnits)
