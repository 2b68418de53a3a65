import { join } from 'node:path'
import { type FoldCase, Folds, smallChild } from './fold.js'
import type { GrowthCurve } from './growth-curve.js'
import { formatDecimalBytes, formatNumber } from './report.js'
import { gridBytes } from './synthetic-runs.js'
import type { Workspace } from './workspace.js'

export interface FoldGrowthOptions {
  /** Extents of the largest parent. Of the others a quarter of it. */
  readonly parent: number
  readonly rounds: number
  readonly seed: string
}

const packs = 20_000

interface Varied {
  readonly name: string
  readonly label: string
  readonly sizes: readonly number[]
  readonly caseOf: (size: number) => FoldCase
}

/** One thing at a time. */
function variationsOf({ parent }: FoldGrowthOptions): Varied[] {
  const parentExtents = Math.ceil(parent / 4)
  const base = { stride: gridBytes, parentExtents, childExtents: smallChild, children: 1 }
  const powers = (from: number, to: number): number[] => {
    const sizes: number[] = []
    for (let size = from; size < to; size *= 10) sizes.push(size)
    return [...sizes, to]
  }
  return [
    {
      name: 'fold-child',
      label: 'extents of the child',
      sizes: powers(10, Math.max(20, Math.ceil(parentExtents / 10))),
      caseOf: (childExtents) => ({ ...base, childExtents }),
    },
    {
      name: 'fold-parent',
      label: 'extents of the parent',
      sizes: powers(Math.max(smallChild * 4, parent / 1000), parent),
      caseOf: (size) => ({ ...base, parentExtents: Math.ceil(size) }),
    },
    {
      name: 'fold-chain',
      label: `points folded at once, of ${smallChild} extents each`,
      sizes: powers(1, Math.max(2, Math.ceil(parentExtents / 1000))),
      caseOf: (children) => ({ ...base, children }),
    },
  ]
}

/** Folds, by the size of the child, that of the parent, and the length of the chain. */
export async function growFold(options: FoldGrowthOptions, workspace: Workspace): Promise<GrowthCurve[]> {
  const folds = await Folds.open(join(workspace.scratch, 'growing-folds'), packs, options.seed)
  const curves: GrowthCurve[] = []
  for (const { name, label, sizes, caseOf } of variationsOf(options)) {
    const samples = []
    for (const at of sizes) {
      const sample = await folds.sample(caseOf(at), options.rounds)
      const { parentExtents, childExtents, children, stride: _, baselineBytes: __, ...figures } = sample
      samples.push({ name: `${formatNumber(at)} ${label}`, at, figures })
      console.log(
        `fold: ${children} × ${childExtents} into ${parentExtents}: ${formatNumber(sample.wallSeconds)} s, slowest ${formatNumber(sample.slowestSeconds)} s`,
      )
    }
    curves.push({
      name,
      title: `Folding, by ${label}`,
      parameters: { ...options, packs },
      x: { label, log: true, format: formatNumber },
      samples,
      panels: [
        {
          y: { label: 's', log: true, format: formatNumber },
          figures: { wallSeconds: 's', cpuSeconds: 'CPU s', slowestSeconds: 's, the slowest' },
        },
        {
          y: { label: 'bytes of runs', log: true, format: formatDecimalBytes },
          figures: { readBytes: 'read', writtenBytes: 'written' },
        },
        {
          y: { label: 'memory of the process', format: formatDecimalBytes },
          figures: { peakMemoryBytes: 'peak memory' },
        },
      ],
    })
  }
  await folds.close()
  return curves
}
