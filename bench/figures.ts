/** One number of a results file, with what its rounds say about noise. */
export interface Figure {
  /** Where it is, in words: `everfold full wallSeconds`. */
  readonly path: string
  readonly value: number
  /** Highest minus lowest of the rounds; undefined where the file has no rounds of it. */
  readonly spread: number | undefined
}

/** What describes a run instead of measuring it. `bars` and `curves` repeat figures. */
const descriptive = new Set([
  'benchmark',
  'commit',
  'machine',
  'parameters',
  'options',
  'bars',
  'rounds',
  'curves',
  'at',
])

type Json = Readonly<Record<string, unknown>>

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** An element of a list is known by its name, where it has one. */
function labelOf(element: unknown, at: number): string {
  return isObject(element) && typeof element['name'] === 'string' ? element['name'] : `#${at + 1}`
}

function at(value: unknown, keys: readonly string[]): unknown {
  return keys.reduce<unknown>((inner, key) => (isObject(inner) ? inner[key] : undefined), value)
}

/** Highest minus lowest of what the rounds have at that place. */
function spreadOf(rounds: readonly unknown[], keys: readonly string[]): number | undefined {
  const values = rounds.map((round) => at(round, keys)).filter((value) => typeof value === 'number')
  return values.length < 2 ? undefined : Math.max(...values) - Math.min(...values)
}

/** Medians stand beside the rounds that they are of, in the same shape. */
function* mediansIn(
  value: Json,
  rounds: readonly unknown[],
  path: string,
  keys: string[],
): Generator<Figure> {
  for (const [key, inner] of Object.entries(value)) {
    const place = [...keys, key]
    const name = `${path} ${key}`.trim()
    if (typeof inner === 'number') yield { path: name, value: inner, spread: spreadOf(rounds, place) }
    else if (isObject(inner)) yield* mediansIn(inner, rounds, name, place)
  }
}

/**
 * All figures of a results file. An object may have `medians` and, in the same shape, a list of `rounds`: then these tell
 * the noise. Elements of lists are told apart by their `name`.
 */
export function* figuresOf(value: unknown, path = ''): Generator<Figure> {
  if (Array.isArray(value)) {
    for (const [i, element] of value.entries())
      yield* figuresOf(element, `${path} ${labelOf(element, i)}`.trim())
    return
  }
  if (!isObject(value)) return
  const { medians, rounds } = value
  for (const [key, inner] of Object.entries(value)) {
    if (descriptive.has(key)) continue
    if (key === 'medians' && isObject(medians))
      yield* mediansIn(medians, Array.isArray(rounds) ? rounds : [], path, [])
    else if (typeof inner === 'number')
      yield { path: `${path} ${key}`.trim(), value: inner, spread: undefined }
    // Names of lists say nothing that those of their elements do not.
    else yield* figuresOf(inner, Array.isArray(inner) ? path : `${path} ${key}`.trim())
  }
}
