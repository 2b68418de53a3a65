import { join } from 'node:path'
import { ExtentList } from '../src/chain/extent-list.js'
import { PackTable } from '../src/chain/pack-table.js'
import { Repository } from '../src/chain/repository.js'
import { MemoryIndex } from '../src/index/memory-index.js'
import { allHeads, markHeads } from '../src/merge/live.js'
import { InlineCrew } from '../src/pack/inline-crew.js'
import { LocalStore } from '../src/store/local-store.js'
import type { GrowthCurve, GrowthSample } from './growth-curve.js'
import { GiB, MiB, requireSpace } from './image.js'
import { measureHere } from './peak-memory.js'
import { formatBytes, formatDecimalBytes, formatNumber } from './report.js'
import { SeededBytes } from './seeded-bytes.js'
import { chunksPerPack, gridBytes, packIds, Scatter, storeRun, syntheticPoint } from './synthetic-runs.js'
import { spaceAdvice, type Workspace } from './workspace.js'

export interface MarkGrowthOptions {
  /** Plain bytes that runs refer to, smallest first: TiB. */
  readonly tib: readonly number[]
  /** Extents that each pack's chunks lie in: a fresh disk has 1, a shuffled one 512. */
  readonly extentsPerPack: number
  /** Packs in a TiB: that many of 512 chunks of 64 KiB. Fewer make a smaller world for tests. */
  readonly packsPerTib: number
  readonly seed: string
}

export const packsPerTib = (1024 * GiB) / (chunksPerPack * gridBytes)
/** Runs on the disk. */
const spacePerExtent = 60

/** A disk of 1 TiB whose packs are its own, each in so many pieces, which lie apart. */
function agedDisk(options: MarkGrowthOptions, random: SeededBytes): ExtentList {
  const { extentsPerPack: pieces, packsPerTib: count } = options
  const packs = new PackTable()
  const ids = packIds(count, random)
  const scatter = new Scatter(random)
  const list = new ExtentList(gridBytes, packs, count * pieces)
  const chunks = Math.floor(chunksPerPack / pieces)
  const turn = 1 + scatter.below(count - 1)
  for (let i = 0; i < count * pieces; i += 1) {
    // The n-th piece of each pack, then the next one of each, beginning elsewhere: neighbours are never of one pack.
    const piece = Math.floor(i / count)
    const pack = (i + piece * turn) % count
    list.append(i * chunks * gridBytes, chunks * gridBytes, packs.slotOf(ids[pack] ?? ''), piece * chunks, 0)
  }
  return list
}

/** Marking: reading all runs, and holding what they refer to. */
export async function growMark(options: MarkGrowthOptions, workspace: Workspace): Promise<GrowthCurve> {
  const largest = options.tib.at(-1) ?? 0
  requireSpace(
    workspace.cache,
    largest * options.packsPerTib * options.extentsPerPack * spacePerExtent,
    spaceAdvice,
  )
  const store = await LocalStore.open(join(workspace.scratch, 'growing-runs'), { create: true })
  await Repository.init(store, {})
  const openIndex = async (): Promise<MemoryIndex> => new MemoryIndex()
  const repository = await Repository.open({ store, crew: new InlineCrew(), openIndex })
  const random = new SeededBytes(options.seed)
  const samples: GrowthSample[] = []
  let machines = 0
  for (const at of options.tib) {
    for (; machines < at; machines += 1) {
      const machine = `machine-${machines}`
      const list = agedDisk(options, random)
      const point = syntheticPoint(random, list.end, await storeRun(repository, machine, list), true)
      await repository.chains.edit(machine, () => ({ points: [point] }))
    }
    const effort = await measureHere(async () => {
      const pins = repository.pins.begin()
      try {
        const { count, packs } = await markHeads(repository, await allHeads(repository, pins))
        return { count, packs: packs.size }
      } finally {
        pins.end()
      }
    })
    const { wallSeconds, cpuSeconds, peakMemoryBytes, baselineBytes } = effort
    const { count, packs } = effort.result
    if (packs !== at * options.packsPerTib) throw new Error(`${packs} packs were marked for ${at} TiB`)
    const figures = {
      wallSeconds,
      cpuSeconds,
      addedMemoryBytes: Math.max(MiB, peakMemoryBytes - baselineBytes),
      peakMemoryBytes,
      extents: count,
      packs,
    }
    samples.push({ name: `${formatNumber(at)} TiB`, at, figures })
    console.log(`mark: ${at} TiB in ${formatNumber(wallSeconds)} s, ${formatBytes(peakMemoryBytes)}`)
  }
  await repository.close()
  await store.close()
  return {
    name: 'mark',
    title: `Marking what runs refer to, ${options.extentsPerPack} extents a pack`,
    parameters: options,
    x: { label: 'TiB that runs refer to', log: true, format: formatNumber },
    samples,
    panels: [
      {
        y: { label: 's', log: true, format: formatNumber },
        figures: { wallSeconds: 's', cpuSeconds: 'CPU s' },
      },
      {
        y: { label: 'memory of the process', log: true, format: formatDecimalBytes },
        figures: { addedMemoryBytes: 'added by marking', peakMemoryBytes: 'peak' },
      },
      {
        y: { label: 'extents and packs', log: true, format: formatNumber },
        figures: { extents: 'extents', packs: 'packs' },
      },
    ],
  }
}
