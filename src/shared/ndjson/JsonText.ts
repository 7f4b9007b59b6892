/**
 * Checks JSON piece by piece: the same verdict as `JSON.parse`, but of a large text in many short turns and without
 * building its value. Pure: no Effect, no I/O.
 */
import { isUtf8 } from "node:buffer"

const quote = 0x22
const backslash = 0x5c
const comma = 0x2c
const openBrace = 0x7b
const closeBrace = 0x7d
const openBracket = 0x5b
const closeBracket = 0x5d

const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09
const isDigit = (byte: number): boolean => byte >= 0x30 && byte <= 0x39
const isHex = (byte: number): boolean =>
  isDigit(byte) || (byte >= 0x41 && byte <= 0x46) || (byte >= 0x61 && byte <= 0x66)

/** `"\/bfnrt` */
const escapes = new Set([0x22, 0x5c, 0x2f, 0x62, 0x66, 0x6e, 0x72, 0x74])
const literals: ReadonlyMap<number, Uint8Array> = new Map(
  ["true", "false", "null"].map((word) => [word.charCodeAt(0), Buffer.from(word)])
)

/** Where the text stands between two bytes. */
type State =
  | "value"
  | "first element"
  | "first key"
  | "key"
  | "colon"
  | "after"
  | "string"
  | "escape"
  | "hex"
  | "literal"
  | "minus"
  | "zero"
  | "digits"
  | "point"
  | "fraction"
  | "e"
  | "sign"
  | "exponent"

/** In which a number may end. */
const wholeNumbers = new Set<State>(["zero", "digits", "fraction", "exponent"])

/** What may follow in a number; whatever else ends it. */
const afterInNumber = (state: State, byte: number): State | undefined => {
  switch (state) {
    case "minus":
      return byte === 0x30 ? "zero" : isDigit(byte) ? "digits" : undefined
    case "zero":
    case "digits":
      if (byte === 0x2e) return "point"
      if (byte === 0x65 || byte === 0x45) return "e"
      return state === "digits" && isDigit(byte) ? "digits" : undefined
    case "point":
      return isDigit(byte) ? "fraction" : undefined
    case "fraction":
      if (byte === 0x65 || byte === 0x45) return "e"
      return isDigit(byte) ? "fraction" : undefined
    case "e":
      if (byte === 0x2b || byte === 0x2d) return "sign"
      return isDigit(byte) ? "exponent" : undefined
    case "sign":
    case "exponent":
      return isDigit(byte) ? "exponent" : undefined
    default:
      return undefined
  }
}

/** One JSON text in UTF-8. */
export class JsonText {
  private state: State = "value"
  private isKey = false
  private hexLeft = 0
  private word: Uint8Array = new Uint8Array(0)
  private wordAt = 0
  private depth = 0
  /** Whether each open level is an object. */
  private objects = new Uint8Array(64)

  private constructor(private readonly bytes: Uint8Array) {}

  /** None when the bytes are not UTF-8. */
  static of(bytes: Uint8Array): JsonText | undefined {
    return isUtf8(bytes) ? new JsonText(bytes) : undefined
  }

  /** Checks the bytes from `from` to `to`, behind those that were checked before. False when they are not JSON. */
  check(from: number, to: number): boolean {
    const { bytes } = this
    let at = from
    while (at < to) {
      if (this.state === "string") {
        at = this.inString(at, to)
        if (at < 0) return false
      } else if (this.take(bytes[at]!)) at++
      else return false
    }
    return true
  }

  /** Whether the text is complete. */
  get isWhole(): boolean {
    return this.depth === 0 && (this.state === "after" || wholeNumbers.has(this.state))
  }

  /** Goes to where the string or the piece ends; negative when it holds a control character. */
  private inString(from: number, to: number): number {
    const { bytes } = this
    for (let at = from; at < to; at++) {
      const byte = bytes[at]!
      if (byte === quote) {
        this.state = this.isKey ? "colon" : "after"
        return at + 1
      }
      if (byte === backslash) {
        this.state = "escape"
        return at + 1
      }
      if (byte < 0x20) return -1
    }
    return to
  }

  private take(byte: number): boolean {
    switch (this.state) {
      case "value":
      case "first element":
        return isSpace(byte) || this.begin(byte)
      case "first key":
      case "key":
        if (isSpace(byte)) return true
        if (byte === quote) return this.enter("string", true)
        return byte === closeBrace && this.state === "first key" && this.close()
      case "colon":
        return isSpace(byte) || (byte === 0x3a && this.enter("value"))
      case "after":
        return isSpace(byte) || this.follow(byte)
      case "escape":
        if (byte !== 0x75) return escapes.has(byte) && this.enter("string", this.isKey)
        this.hexLeft = 4
        return this.enter("hex", this.isKey)
      case "hex":
        if (!isHex(byte)) return false
        return --this.hexLeft > 0 || this.enter("string", this.isKey)
      case "literal":
        if (byte !== this.word[this.wordAt++]) return false
        return this.wordAt < this.word.length || this.enter("after")
      default: {
        const next = afterInNumber(this.state, byte)
        if (next !== undefined) return this.enter(next)
        return wholeNumbers.has(this.state) && this.enter("after") && this.take(byte)
      }
    }
  }

  private begin(byte: number): boolean {
    if (byte === quote) return this.enter("string")
    if (byte === openBrace) return this.open(1)
    if (byte === openBracket) return this.open(0)
    if (byte === closeBracket) return this.state === "first element" && this.close()
    if (byte === 0x2d) return this.enter("minus")
    if (byte === 0x30) return this.enter("zero")
    if (isDigit(byte)) return this.enter("digits")
    const word = literals.get(byte)
    if (word === undefined) return false
    this.word = word
    this.wordAt = 1
    return this.enter("literal")
  }

  private follow(byte: number): boolean {
    if (this.depth === 0) return false
    const isObject = this.objects[this.depth - 1] === 1
    if (byte === comma) return this.enter(isObject ? "key" : "value")
    return byte === (isObject ? closeBrace : closeBracket) && this.close()
  }

  private open(isObject: 0 | 1): boolean {
    if (this.depth === this.objects.length) {
      const grown = new Uint8Array(this.depth * 2)
      grown.set(this.objects)
      this.objects = grown
    }
    this.objects[this.depth++] = isObject
    return this.enter(isObject === 1 ? "first key" : "first element")
  }

  private close(): boolean {
    this.depth--
    return this.enter("after")
  }

  private enter(state: State, isKey = false): boolean {
    this.state = state
    this.isKey = isKey
    return true
  }
}
