import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { run } from './command.js'
import { type Figure, figuresOf } from './figures.js'
import { repositoryRoot } from './paths.js'
import { formatBytes, formatNumber, formatTable } from './report.js'

/** What is taken as noise, as a share of the figure, where the rounds say less or there are none. */
const noise = {
  /** Of measured rounds. Machines that share hardware with others differ by that from hour to hour. */
  rounds: 0.03,
  /** Of a figure without rounds. */
  single: 0.15,
  /** Of one that a few slow moments make, without rounds. */
  tail: 0.5,
  /** Bytes stored, and other counts: they hardly depend on the machine. */
  count: 0.01,
}

const timed = /([sS]econds|Ms|[pP]erSecond|[mM]emory\w*|baselineBytes|Share|\b(reads|commits))$/
const tails = /(P99|Max)Ms$/
const moreIsBetter = /([pP]erSecond|[lL]imitShare|[rR]atio|\bcommits)$/
const lessIsBetter = /([sS]econds|Ms|Bytes|collectingShare|\b(failures|requests))$/

export interface Difference {
  readonly path: string
  readonly before: number
  readonly after: number
  /** As a share of `before`. */
  readonly change: number
  /** A change within this share says nothing. */
  readonly noise: number
  readonly verdict: 'better' | 'worse' | 'changed' | 'within the noise'
}

function noiseOf(before: Figure, after: Figure): number {
  const size = Math.abs(before.value)
  if (size === 0) return 0
  if (!timed.test(before.path)) return noise.count
  const spreads = [before.spread, after.spread].filter((spread) => spread !== undefined)
  const single = tails.test(before.path) ? noise.tail : noise.single
  return spreads.length < 2 ? single : Math.max(noise.rounds, ...spreads.map((spread) => spread / size))
}

function differenceOf(before: Figure, after: Figure): Difference {
  const difference = after.value - before.value
  const change = difference === 0 ? 0 : difference / Math.abs(before.value)
  const within = noiseOf(before, after)
  const verdict = (): Difference['verdict'] => {
    if (Math.abs(change) <= within) return 'within the noise'
    if (moreIsBetter.test(before.path)) return change > 0 ? 'better' : 'worse'
    if (lessIsBetter.test(before.path)) return change < 0 ? 'better' : 'worse'
    return 'changed'
  }
  const { path, value } = before
  return { path, before: value, after: after.value, change, noise: within, verdict: verdict() }
}

export interface Comparison {
  readonly differences: readonly Difference[]
  /** Figures that only one of the two has. */
  readonly gone: readonly string[]
  readonly added: readonly string[]
  /** What else differs between the two runs: then figures may differ for that reason. */
  readonly remarks: readonly string[]
}

/** What has to be equal for figures to be comparable. How often something was measured, and what is only told, has not. */
function conditionsOf(results: unknown, part: 'parameters' | 'machine'): Map<string, string> {
  const { [part]: conditions } = results as Record<string, object | undefined>
  const ignored = new Set(['rounds', 'results'])
  return new Map(
    Object.entries(conditions ?? {})
      .filter(([key]) => !ignored.has(key))
      .map(([key, value]) => [key, JSON.stringify(value)]),
  )
}

function remarksOn(before: unknown, after: unknown): string[] {
  return (['parameters', 'machine'] as const).flatMap((part) => {
    const [old, now] = [conditionsOf(before, part), conditionsOf(after, part)]
    return [...new Set([...old.keys(), ...now.keys()])]
      .filter((key) => old.get(key) !== now.get(key))
      .map((key) => `${part}: ${key} was ${old.get(key) ?? 'absent'}, is ${now.get(key) ?? 'absent'}`)
  })
}

/** Compares two results files of the same benchmark, as they were parsed. */
export function compareResults(before: unknown, after: unknown): Comparison {
  const old = new Map([...figuresOf(before)].map((figure) => [figure.path, figure]))
  const now = new Map([...figuresOf(after)].map((figure) => [figure.path, figure]))
  const differences = [...old].flatMap(([path, figure]) => {
    const other = now.get(path)
    return other === undefined ? [] : [differenceOf(figure, other)]
  })
  return {
    differences,
    gone: [...old.keys()].filter((path) => !now.has(path)),
    added: [...now.keys()].filter((path) => !old.has(path)),
    remarks: remarksOn(before, after),
  }
}

function formatFigure(path: string, value: number): string {
  return /[bB]ytes$/.test(path) ? formatBytes(value) : formatNumber(value)
}

const percent = (share: number): string => `${share > 0 ? '+' : ''}${(100 * share).toFixed(1)} %`

/** What changed by more than the noise, the largest change first. */
export function formatComparison({ differences, gone, added, remarks }: Comparison): string {
  const changed = differences
    .filter(({ verdict }) => verdict !== 'within the noise')
    .sort((a, b) => Math.abs(b.change) - Math.abs(a.change))
  const rows = changed.map((difference) => [
    difference.path,
    formatFigure(difference.path, difference.before),
    formatFigure(difference.path, difference.after),
    Number.isFinite(difference.change) ? percent(difference.change) : '',
    `±${(100 * difference.noise).toFixed(1)} %`,
    difference.verdict,
  ])
  const count = (list: readonly string[], what: string): string[] =>
    list.length === 0
      ? []
      : [`${list.length} ${what}: ${list.slice(0, 3).join(', ')}${list.length > 3 ? ', …' : ''}`]
  return [
    ...remarks.map((remark) => `not the same: ${remark}`),
    ...(rows.length > 0 ? [formatTable([['figure', 'before', 'now', 'change', 'noise', ''], ...rows])] : []),
    `${differences.length} figures compared: ${changed.length} changed by more than the noise`,
    ...count(gone, 'only before'),
    ...count(added, 'only now'),
  ].join('\n')
}

/** The results file of that name as it was last committed; in a folder without git, the file as it is. */
async function committedResults(name: string): Promise<{ readonly text: string; readonly from: string }> {
  const path = `bench/results/${name}`
  try {
    const { stdout } = await run({ program: 'git', args: ['-C', repositoryRoot, 'show', `HEAD:${path}`] })
    return { text: stdout, from: `${path} of the last commit` }
  } catch {
    const text = await readFile(join(repositoryRoot, path), 'utf8').catch(() => undefined)
    if (text === undefined) throw new Error(`Nothing to compare with: the repository has no ${path}`)
    return { text, from: path }
  }
}

/** Prints how a results file differs from the one of the same name in the repository. */
export async function compareWithCommitted(path: string): Promise<void> {
  const after: unknown = JSON.parse(await readFile(path, 'utf8'))
  const { text, from } = await committedResults(basename(path))
  console.log(`\n${path}\n  against ${from}:\n${formatComparison(compareResults(JSON.parse(text), after))}`)
}
