/** An id for a message, whatever the caller gave. */
export const nameOf = (id: unknown): string =>
  typeof id === "string"
    ? id
    : (typeof id === "object" && id !== null) || typeof id === "function"
      ? `(${typeof id})`
      : String(id)
