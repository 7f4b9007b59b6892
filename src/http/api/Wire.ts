/** Schemas of bodies: camelCase here, snake_case as they travel. */
import { Schema, type Types } from "effect"

/** Writes a camelCase name as snake_case: `retryAfterMs` becomes `retry_after_ms`. */
export const snakeCase = (name: string): string =>
  name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

/** Writes a snake_case name as camelCase. */
export const camelCase = (name: string): string =>
  name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())

type SnakeCase<Name> = Name extends `${infer Head}${infer Tail}`
  ? `${Head extends Lowercase<Head> ? Head : `_${Lowercase<Head>}`}${SnakeCase<Tail>}`
  : ""

type Travelling<Fields extends Schema.Struct.Fields> = {
  readonly [Name in keyof Schema.Struct.Encoded<Fields> as SnakeCase<Name>]: Schema.Struct.Encoded<Fields>[Name]
}

type Wire<Fields extends Schema.Struct.Fields> = Schema.Schema<
  Types.Simplify<Schema.Struct.Type<Fields>>,
  Travelling<Fields>
>

/**
 * A struct whose fields have camelCase names here and snake_case names as they travel. What travels is checked, what is
 * here is not: `Schema.fromKey` would do both, at five times the cost, which a page of a thousand rows cannot pay.
 */
export const wire = <const Fields extends Schema.Struct.Fields>(fields: Fields): Wire<Fields> => {
  const names = Object.keys(fields).map((name) => [name, snakeCase(name)] as const)
  const pick = (value: Readonly<Record<string, unknown>>, from: 0 | 1, to: 0 | 1) => {
    const picked: Record<string, unknown> = {}
    for (const pair of names) {
      if (value[pair[from]] !== undefined || pair[from] in value) picked[pair[to]] = value[pair[from]]
    }
    return picked
  }
  const travelling = Schema.Struct(Object.fromEntries(names.map(([name, own]) => [own, fields[name]!])))
  return Schema.transform(travelling, Schema.Object as Schema.Schema<Readonly<Record<string, unknown>>>, {
    strict: false,
    decode: (value) => pick(value, 1, 0),
    encode: (value) => pick(value, 0, 1)
  }) as unknown as Wire<Fields>
}

/** What is `undefined` here is `null` as it travels. */
export const orNull = <A, I>(schema: Schema.Schema<A, I>): Schema.Schema<A | undefined, I | null> =>
  Schema.transform(Schema.NullOr(schema), Schema.Any as Schema.Schema<A | undefined>, {
    strict: true,
    decode: (value) => value ?? undefined,
    encode: (value) => value ?? null
  })

/** Fields that are all of one kind. */
export const fieldsOf =
  <Field>(field: Field) =>
  <Name extends string>(...names: ReadonlyArray<Name>): { readonly [N in Name]: Field } =>
    Object.fromEntries(names.map((name) => [name, field])) as { readonly [N in Name]: Field }

const wholePattern = /^(0|[1-9][0-9]{0,15})$/

/** A whole number as it travels in queries, headers and tags: digits only, none of them in vain. */
export const parseWhole = (text: string, minimum: number, maximum: number): number | undefined => {
  const value = wholePattern.test(text) ? Number(text) : Number.NaN
  return value >= minimum && value <= maximum ? value : undefined
}
