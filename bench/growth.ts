import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { growClients } from './growth-clients.js'
import { type GrowthCurve, reportCurve } from './growth-curve.js'
import { growFold } from './growth-fold.js'
import { growIndex } from './growth-index.js'
import { growMark, packsPerTib } from './growth-mark.js'
import { growStart } from './growth-start.js'
import { positive, positiveList, wholePositive } from './options.js'
import { repositoryRoot } from './paths.js'
import type { Workspace } from './workspace.js'

export const growthUsage = `growth: how cost grows with what is kept: raw figures and a plot for each curve; says what each curve is
  --curves A,B,…     of index, fold, mark, start, clients (default: all, some 10 minutes)
  --chunks N         index: chunks at the end (default 10000000: a minute; 100000000 take about a quarter of an hour, and 10 GB)
  --parent N         fold: extents of the largest parent (default 4000000)
  --rounds N         fold, start: of which medians count (default 3)
  --tib A,B,…        mark: TiB that runs refer to (default 1,3,10,30,100)
  --machines A,B,…   start: machines (default 10,30,100,300,1000)
  --points N         start: points of each machine (default 100)
  --clients A,B,…    clients: clients at once (default 5,20,60,180)
  --load-seconds N   clients: how long they send (default 15)
  --seed TEXT        what is random (default "everfold")
  --results FOLDER   where raw figures and plots go (default bench/results)`

const curveNames = ['index', 'fold', 'mark', 'start', 'clients'] as const
type CurveName = (typeof curveNames)[number]

export interface GrowthOptions {
  readonly curves: readonly CurveName[]
  readonly chunks: number
  readonly parent: number
  readonly rounds: number
  readonly tib: readonly number[]
  readonly extentsPerPack: number
  readonly packsPerTib: number
  readonly machines: readonly number[]
  readonly pointsPerMachine: number
  readonly clients: readonly number[]
  readonly loadSeconds: number
  readonly seed: string
  readonly results: string
}

/** Of a disk some months old. */
const extentsPerPackDefault = 4

function chooseCurves(text: string): CurveName[] {
  return text.split(',').map((name) => {
    const found = curveNames.find((known) => known === name)
    if (found === undefined) throw new Error(`--curves takes ${curveNames.join(', ')}, not "${name}"`)
    return found
  })
}

export function parseGrowthOptions(args: readonly string[]): GrowthOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      curves: { type: 'string', default: curveNames.join(',') },
      chunks: { type: 'string', default: '10000000' },
      parent: { type: 'string', default: '4000000' },
      rounds: { type: 'string', default: '3' },
      tib: { type: 'string', default: '1,3,10,30,100' },
      machines: { type: 'string', default: '10,30,100,300,1000' },
      points: { type: 'string', default: '100' },
      clients: { type: 'string', default: '5,20,60,180' },
      'load-seconds': { type: 'string', default: '15' },
      seed: { type: 'string', default: 'everfold' },
      results: { type: 'string', default: join(repositoryRoot, 'bench/results') },
    },
  })
  const ascending = (name: string, text: string): number[] => positiveList(name, text).sort((a, b) => a - b)
  return {
    curves: chooseCurves(values.curves),
    chunks: wholePositive('chunks', values.chunks),
    parent: wholePositive('parent', values.parent),
    rounds: wholePositive('rounds', values.rounds),
    tib: ascending('tib', values.tib),
    extentsPerPack: extentsPerPackDefault,
    packsPerTib,
    machines: ascending('machines', values.machines),
    pointsPerMachine: wholePositive('points', values.points),
    clients: ascending('clients', values.clients),
    loadSeconds: positive('load-seconds', values['load-seconds']),
    seed: values.seed,
    results: values.results,
  }
}

/** Measures the curves that were asked for; each is printed and written as soon as it is there. */
export async function runGrowth(options: GrowthOptions, workspace: Workspace): Promise<void> {
  const { seed, rounds } = options
  const grow: Readonly<Record<CurveName, () => Promise<GrowthCurve | readonly GrowthCurve[]>>> = {
    index: () => growIndex({ chunks: options.chunks, seed }, workspace),
    fold: () => growFold({ parent: options.parent, rounds, seed }, workspace),
    mark: () => {
      const { tib, extentsPerPack } = options
      return growMark({ tib, extentsPerPack, packsPerTib: options.packsPerTib, seed }, workspace)
    },
    start: () => {
      const { machines, pointsPerMachine } = options
      return growStart({ machines, pointsPerMachine, rounds, seed }, workspace)
    },
    clients: () => growClients({ clients: options.clients, loadSeconds: options.loadSeconds }, workspace),
  }
  for (const name of options.curves)
    for (const curve of [await grow[name]()].flat()) await reportCurve(curve, options.results)
}
