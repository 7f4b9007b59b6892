/** Visits every state that a model can reach, breadth first: the first broken invariant has the shortest way to it. */

export interface Model<S> {
  readonly initial: S
  /** What can happen next, by name. States are never changed, only made. */
  readonly next: (state: S) => Iterable<readonly [action: string, state: S]>
  /** Equal for equal states. */
  readonly keyOf: (state: S) => string
  /** What is broken in this state, if anything. */
  readonly broken: (state: S) => string | undefined
}

export interface Explored {
  readonly states: number
  readonly steps: number
  /** How often each action was taken. */
  readonly actions: ReadonlyMap<string, number>
  readonly violation: { readonly problem: string; readonly way: ReadonlyArray<string> } | undefined
}

/** Throws above `maxStates`: a model that is not explored to its end proves nothing. */
export const explore = <S>({ broken, initial, keyOf, next }: Model<S>, maxStates: number): Explored => {
  interface Visited {
    readonly state: S
    readonly from: Visited | undefined
    readonly action: string
  }
  const known = new Set([keyOf(initial)])
  const actions = new Map<string, number>()
  let front: Array<Visited> = [{ state: initial, from: undefined, action: "" }]
  let steps = 0
  const atOnce = broken(initial)
  const result = (violation?: Explored["violation"]): Explored => ({
    states: known.size,
    steps,
    actions,
    violation
  })
  if (atOnce !== undefined) return result({ problem: atOnce, way: [] })
  while (front.length > 0) {
    const reached: Array<Visited> = []
    for (const visited of front) {
      for (const [action, state] of next(visited.state)) {
        steps++
        const kind = action.split(" ", 1)[0]!
        actions.set(kind, (actions.get(kind) ?? 0) + 1)
        const key = keyOf(state)
        if (known.has(key)) continue
        known.add(key)
        const found = { state, from: visited, action }
        const problem = broken(state)
        if (problem !== undefined) {
          const way: Array<string> = []
          for (let at: Visited = found; at.from !== undefined; at = at.from) way.unshift(at.action)
          return result({ problem, way })
        }
        reached.push(found)
      }
    }
    if (known.size > maxStates) throw new Error(`more than ${maxStates} states`)
    front = reached
  }
  return result()
}
