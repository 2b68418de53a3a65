import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { bytesToHex } from '../src/checksum.js'
import { HASH_BYTES } from '../src/index/chunk-index.js'
import { LevelIndex } from '../src/index/level-index.js'
import { type GrowthCurve, type GrowthSample, sizesUpTo } from './growth-curve.js'
import { requireSpace } from './image.js'
import { formatDecimalBytes, formatNumber } from './report.js'
import { SeededBytes } from './seeded-bytes.js'
import { chunksPerPack, Scatter } from './synthetic-runs.js'
import { spaceAdvice, type Workspace } from './workspace.js'

export interface IndexGrowthOptions {
  readonly chunks: number
  readonly seed: string
}

/** LevelDB's tables, and room for those that are being merged. Bytes. */
const spacePerChunk = 100
/** Hashes of a look-up: what 4 MiB, a batch of the engine, have of chunks of 64 KiB. */
const lookupHashes = 64
const lookups = 300
/** As many as the index keeps numbers of. */
const warmedPacksMax = 65_536

/** Of this process: what it allocated, and what of files it has mapped and used, which the kernel takes back as it likes. */
function memory(): { readonly allocatedBytes: number; readonly mappedBytes: number } {
  const status = readFileSync('/proc/self/status', 'utf8')
  const bytes = (field: string): number =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024
  return { allocatedBytes: bytes('RssAnon'), mappedBytes: bytes('RssFile') }
}

/** Chunks that a seed repeats, in packs as the engine makes them. */
class SyntheticChunks {
  readonly #seed: string

  constructor(seed: string) {
    this.#seed = seed
  }

  packId(pack: number): string {
    return bytesToHex(new SeededBytes(`${this.#seed} id ${pack}`).next(HASH_BYTES))
  }

  hashes(pack: number): Buffer {
    return new SeededBytes(`${this.#seed} pack ${pack}`).next(chunksPerPack * HASH_BYTES)
  }

  /** Hashes that lie together in one pack: what data that is known has, as a rule. */
  together(packs: number, scatter: Scatter): Uint8Array {
    const at = scatter.below(chunksPerPack - lookupHashes) * HASH_BYTES
    return this.hashes(scatter.below(packs)).subarray(at, at + lookupHashes * HASH_BYTES)
  }

  /** One hash of each of the first packs, in portions: afterwards the index has in memory what it keeps of packs. */
  *oneOfEach(packs: number): Generator<Uint8Array> {
    for (let first = 0; first < packs; first += lookupHashes) {
      const portion = Array.from({ length: Math.min(lookupHashes, packs - first) }, (_, i) => first + i)
      yield Buffer.concat(portion.map((pack) => this.hashes(pack).subarray(0, HASH_BYTES)))
    }
  }

  /** Hashes of chunks from all over the first so many packs: nothing that lies together is asked together. */
  scattered(packs: number, scatter: Scatter): Uint8Array {
    const parts = Array.from({ length: lookupHashes }, () => {
      const at = scatter.below(chunksPerPack) * HASH_BYTES
      return this.hashes(scatter.below(packs)).subarray(at, at + HASH_BYTES)
    })
    return Buffer.concat(parts)
  }
}

interface Latency {
  readonly p50Ms: number
  readonly p99Ms: number
}

async function timeLookups(index: LevelIndex, next: () => Uint8Array, known: boolean): Promise<Latency> {
  const times: number[] = []
  for (let i = 0; i < lookups; i += 1) {
    const hashes = next()
    const startMs = performance.now()
    const { packOf } = await index.lookup(hashes)
    times.push(performance.now() - startMs)
    const found = packOf.filter((pack) => pack !== -1).length
    if (found !== (known ? lookupHashes : 0))
      throw new Error(`The index found ${found} of ${lookupHashes} chunks`)
  }
  times.sort((a, b) => a - b)
  const at = (share: number): number => times[Math.floor((times.length - 1) * share)] ?? 0
  return { p50Ms: at(0.5), p99Ms: at(0.99) }
}

/** The index, as chunks are entered. It is closed and opened at each size, with the check of its tables that follows a crash. */
export async function growIndex(options: IndexGrowthOptions, workspace: Workspace): Promise<GrowthCurve> {
  requireSpace(workspace.cache, options.chunks * spacePerChunk, spaceAdvice)
  const folder = join(workspace.scratch, 'growing-index')
  const chunks = new SyntheticChunks(options.seed)
  const random = new SeededBytes(`${options.seed} look-ups`)
  const scatter = new Scatter(random)
  const samples: GrowthSample[] = []
  let index = await LevelIndex.open(folder)
  let packs = 0
  for (const size of sizesUpTo(options.chunks)) {
    if (packs * chunksPerPack >= size) continue
    let addMs = 0
    const before = packs
    for (; packs * chunksPerPack < size; packs += 1) {
      const [id, hashes] = [chunks.packId(packs), chunks.hashes(packs)]
      const startMs = performance.now()
      await index.addPack(id, hashes)
      addMs += performance.now() - startMs
    }
    const { allocatedBytes, mappedBytes } = memory()
    await index.close()
    const openMs = performance.now()
    index = await LevelIndex.open(folder)
    const checkedOpenSeconds = (performance.now() - openMs) / 1000
    for (const hashes of chunks.oneOfEach(Math.min(packs, warmedPacksMax))) await index.lookup(hashes)
    const together = await timeLookups(index, () => chunks.together(packs, scatter), true)
    const known = await timeLookups(index, () => chunks.scattered(packs, scatter), true)
    const unknown = await timeLookups(index, () => random.next(lookupHashes * HASH_BYTES), false)
    const { diskBytes } = await index.sizes()
    const figures = {
      addedPerSecond: ((packs - before) * chunksPerPack) / (addMs / 1000),
      togetherP50Ms: together.p50Ms,
      togetherP99Ms: together.p99Ms,
      scatteredP50Ms: known.p50Ms,
      scatteredP99Ms: known.p99Ms,
      unknownP50Ms: unknown.p50Ms,
      unknownP99Ms: unknown.p99Ms,
      allocatedMemoryBytes: allocatedBytes,
      mappedMemoryBytes: mappedBytes,
      diskBytes,
      checkedOpenSeconds,
    }
    samples.push({ name: `${formatNumber(size)} chunks`, at: size, figures })
    console.log(
      `index: ${formatNumber(size)} chunks: ${formatNumber(figures.addedPerSecond)} entered a second; ${lookupHashes} looked up in ` +
        `${formatNumber(together.p50Ms)} ms (of one pack), ${formatNumber(known.p50Ms)} ms (scattered), ${formatNumber(unknown.p50Ms)} ms (not known)`,
    )
  }
  await index.close()
  return {
    name: 'index',
    title: `The index, up to ${formatNumber(options.chunks)} chunks`,
    parameters: options,
    x: { label: 'chunks', log: true, format: formatNumber },
    samples,
    panels: [
      {
        y: { label: 'chunks entered a second', format: formatNumber },
        figures: { addedPerSecond: 'entered/s' },
      },
      {
        y: {
          label: `ms to look ${lookupHashes} chunks up: of one pack, from all over the index, not known`,
          log: true,
          format: formatNumber,
        },
        figures: {
          togetherP50Ms: 'of one pack p50 ms',
          togetherP99Ms: 'of one pack p99 ms',
          scatteredP50Ms: 'scattered p50 ms',
          scatteredP99Ms: 'scattered p99 ms',
          unknownP50Ms: 'unknown p50 ms',
          unknownP99Ms: 'unknown p99 ms',
        },
      },
      {
        y: { label: 'memory of the process', format: formatDecimalBytes },
        figures: { allocatedMemoryBytes: 'allocated', mappedMemoryBytes: 'mapped' },
      },
      {
        y: { label: 'on the disk', log: true, format: formatDecimalBytes },
        figures: { diskBytes: 'on the disk' },
      },
      {
        y: { label: 's to open, all tables checked', log: true, format: formatNumber },
        figures: { checkedOpenSeconds: 'open s' },
      },
    ],
  }
}
