import { writeFile } from 'node:fs/promises'
import { type Axis, drawPlot } from './plot.js'
import { describeCommit, describeMachine, formatTable, writeResults } from './report.js'

/** What was measured at one size. */
export interface GrowthSample {
  /** Tells it apart from the others in the results file: `1,000,000 chunks`. */
  readonly name: string
  /** The size. */
  readonly at: number
  readonly figures: Readonly<Record<string, number>>
}

/** How something grows. */
export interface GrowthCurve {
  /** Of the results files: `growth-<name>.json` and `.svg`. */
  readonly name: string
  readonly title: string
  readonly parameters: object
  readonly x: Axis
  /** By size, smallest first. */
  readonly samples: readonly GrowthSample[]
  readonly panels: readonly GrowthPanel[]
}

export interface GrowthPanel {
  readonly y: Axis
  /** Names of figures, and what to call them. */
  readonly figures: Readonly<Record<string, string>>
}

/** Sizes that an exponent is fitted to: the larger ones, where what is constant no longer hides what grows. */
const fittedMin = 3

/**
 * With which power of the size a figure grows: 0 is flat, 1 proportional. Least squares of logarithms over the larger half of the
 * sizes. Undefined where that says nothing: too few sizes, or figures of 0.
 */
export function exponentOf(samples: readonly GrowthSample[], figure: string): number | undefined {
  const fitted = samples.slice(-Math.max(fittedMin, Math.ceil(samples.length / 2)))
  const points = fitted.map(({ at, figures }) => [Math.log(at), Math.log(figures[figure] ?? 0)] as const)
  if (points.length < 2 || !points.flat().every(Number.isFinite)) return undefined
  const mean = (values: readonly number[]): number =>
    values.reduce((sum, value) => sum + value, 0) / values.length
  const x = mean(points.map(([at]) => at))
  const y = mean(points.map(([, value]) => value))
  const spread = points.reduce((sum, [at]) => sum + (at - x) ** 2, 0)
  return spread === 0
    ? undefined
    : points.reduce((sum, [at, value]) => sum + (at - x) * (value - y), 0) / spread
}

/** An exponent in words. */
export function describeExponent(exponent: number | undefined): string {
  if (exponent === undefined) return 'not known'
  const power = `size^${exponent.toFixed(2)}`
  if (exponent < -0.15) return `falls (${power})`
  if (exponent <= 0.15) return `flat (${power})`
  if (exponent < 0.85) return `grows slower than the size (${power})`
  return exponent <= 1.15 ? `proportional to the size (${power})` : `grows faster than the size (${power})`
}

function formatSamples({ x, samples, panels }: GrowthCurve): string {
  const columns = panels.flatMap(({ y, figures }) =>
    Object.entries(figures).map(([key, name]) => ({
      key,
      name: name === '' ? y.label : name,
      format: y.format,
    })),
  )
  const rows = samples.map(({ at, figures }) => [
    x.format(at),
    ...columns.map(({ key, format }) => format(figures[key] ?? Number.NaN)),
  ])
  const table = formatTable([[x.label, ...columns.map(({ name }) => name)], ...rows], 0)
  const says = columns.map(({ key, name }) => `  ${name}: ${describeExponent(exponentOf(samples, key))}`)
  return [table, ...says].join('\n')
}

/** Prints a curve, says what it is, and writes raw figures and plot. */
export async function reportCurve(curve: GrowthCurve, folder: string): Promise<void> {
  const { name, title, parameters, x, samples, panels } = curve
  console.log(`\n${title}\n${formatSamples(curve)}`)
  const keys = panels.flatMap(({ figures }) => Object.keys(figures))
  const path = await writeResults(folder, `growth-${name}`, {
    benchmark: `growth ${name}`,
    commit: await describeCommit(),
    machine: describeMachine(),
    parameters,
    samples: samples.map(({ figures, ...sample }) => ({ ...sample, ...figures })),
    curves: keys.map((key) => {
      const exponent = exponentOf(samples, key)
      return { name: key, exponent: exponent === undefined ? null : Math.round(exponent * 100) / 100 }
    }),
  })
  const plot = path.replace(/\.json$/, '.svg')
  const drawn = panels.map(({ y, figures }) => ({
    y,
    series: Object.entries(figures).map(([key, label]) => ({
      name: label,
      points: samples.map(({ at, figures: values }) => ({ at, value: values[key] ?? 0 })),
    })),
  }))
  await writeFile(plot, drawPlot({ title, x, panels: drawn }))
  console.log(`raw figures: ${path}, plot: ${plot}`)
}

/** Sizes 1, 2 and 5 times powers of ten, over two powers, up to the largest; and that. */
export function sizesUpTo(largest: number): number[] {
  const sizes: number[] = []
  for (let power = 10 ** Math.floor(Math.log10(largest / 100)); power < largest; power *= 10)
    for (const factor of [1, 2, 5]) {
      const size = Math.round(factor * power)
      if (size >= Math.max(1, largest / 100) && size < largest) sizes.push(size)
    }
  return [...sizes, largest]
}
