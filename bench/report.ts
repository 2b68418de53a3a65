import { mkdir, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { run } from './command.js'
import { GiB, MiB } from './image.js'
import { repositoryRoot } from './paths.js'

/** What the figures were measured on. Names of hosts, users and folders have no place in it. */
export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGiB: number
  readonly kernel: string
  readonly node: string
}

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / GiB),
    kernel: release().split('-')[0] ?? '',
    node: process.version,
  }
}

/** The commit that was measured; with `+` if the working tree differs from it. */
export async function describeCommit(): Promise<string> {
  try {
    const { stdout } = await run({
      program: 'git',
      args: ['-C', repositoryRoot, 'describe', '--always', '--dirty=+'],
    })
    return stdout.trim()
  } catch {
    return 'unknown'
  }
}

/** A promise about speed or size: `measured` may not exceed `limit`. Both are absent where a tool was left out. */
export interface Bar {
  readonly text: string
  readonly limit: number | undefined
  readonly measured: number | undefined
  readonly unit: string
}

export type Verdict = 'holds' | 'falls short' | 'not measured'

export function verdict({ limit, measured }: Bar): Verdict {
  if (limit === undefined || measured === undefined) return 'not measured'
  return measured <= limit ? 'holds' : 'falls short'
}

/** One line: `bar: … measured: … holds`. */
export function formatBar(bar: Bar): string {
  const figure = (value: number | undefined): string =>
    value === undefined ? '-' : `${formatNumber(value)} ${bar.unit}`
  return `bar: ${bar.text} (at most ${figure(bar.limit)}); measured: ${figure(bar.measured)}: ${verdict(bar)}`
}

/** Three significant digits, or whole numbers from 100 on. */
export function formatNumber(value: number): string {
  if (value === 0) return '0'
  if (value >= 100) return Math.round(value).toLocaleString('en')
  return value >= 10 ? value.toFixed(1) : value >= 0.1 ? value.toFixed(2) : value.toPrecision(2)
}

/** Bytes for people: `1.1 GiB`, `24.6 MiB`, `512 B`. */
export function formatBytes(bytes: number): string {
  if (bytes >= GiB) return `${(bytes / GiB).toFixed(2)} GiB`
  if (bytes >= MiB) return `${(bytes / MiB).toFixed(1)} MiB`
  return bytes >= 1024 ? `${(bytes / 1024).toFixed(1)} KiB` : `${bytes} B`
}

/** The same in powers of ten, for axes: `150 MB`. */
export function formatDecimalBytes(bytes: number): string {
  const [power, unit] =
    bytes >= 1e9 ? [1e9, 'GB'] : bytes >= 1e6 ? [1e6, 'MB'] : bytes >= 1e3 ? [1e3, 'kB'] : [1, 'B']
  return `${Number((bytes / power).toPrecision(3))} ${unit}`
}

/** `3.2 : 1`, or `-` where there was nothing to divide. */
export function formatRatio(before: number, after: number): string {
  return after === 0 ? '-' : `${(before / after).toFixed(2)} : 1`
}

/** Aligned columns: the first to the left, the others to the right. */
export function formatTable(rows: readonly (readonly string[])[], leftColumns = 1): string {
  const columns = Math.max(...rows.map((row) => row.length))
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  )
  const line = (row: readonly string[]): string =>
    widths
      .map((width, column) => {
        const cell = row[column] ?? ''
        return column < leftColumns ? cell.padEnd(width) : cell.padStart(width)
      })
      .join('  ')
      .trimEnd()
  const [head = [], ...body] = rows
  return [line(head), widths.map((width) => '-'.repeat(width)).join('  '), ...body.map(line)].join('\n')
}

/** Writes raw figures to `<folder>/<name>.json`. */
export async function writeResults(folder: string, name: string, figures: object): Promise<string> {
  await mkdir(folder, { recursive: true })
  const path = join(folder, `${name}.json`)
  await writeFile(path, `${JSON.stringify(figures, null, 2)}\n`)
  return path
}
