import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { bytesToHex } from '../src/checksum.js'
import { runCut } from '../src/chunker/batch-jobs.js'
import { type EncodeJob, type EncodeResult, runDecode, runEncode, runHash } from '../src/pack/jobs.js'
import { provideImage } from './cached-image.js'
import { ensurePackages } from './command.js'
import { GiB, imagePackages, KiB, MiB, requireSpace } from './image.js'
import { median } from './measure.js'
import { positive, positiveList } from './options.js'
import { repositoryRoot } from './paths.js'
import { describeCommit, describeMachine, formatNumber, formatTable, writeResults } from './report.js'
import { SeededBytes } from './seeded-bytes.js'
import { spaceAdvice, type Workspace } from './workspace.js'

export const framesUsage = `frames: what frame size and zstd level give in ratio and speed, and cost a single read
  --size-gib N       size of the image, the same as for "engine" (default 8)
  --sample-mib N     how much of it is read, spread over all of it (default 1024)
  --frames-kib A,B,… frame sizes (default 64,128,256,512,1024,2048)
  --levels A,B,…     zstd levels (default 1,3,5)
  --results FOLDER   where the raw figures go (default bench/results)`

export interface FramesOptions {
  readonly sizeGib: number
  readonly sampleMib: number
  readonly framesKib: readonly number[]
  readonly levels: readonly number[]
  readonly results: string
}

export function parseFramesOptions(args: readonly string[]): FramesOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      'size-gib': { type: 'string', default: '8' },
      'sample-mib': { type: 'string', default: '1024' },
      'frames-kib': { type: 'string', default: '64,128,256,512,1024,2048' },
      levels: { type: 'string', default: '1,3,5' },
      results: { type: 'string', default: join(repositoryRoot, 'bench/results') },
    },
  })
  return {
    sizeGib: positive('size-gib', values['size-gib']),
    sampleMib: positive('sample-mib', values['sample-mib']),
    framesKib: positiveList('frames-kib', values['frames-kib']),
    levels: positiveList('levels', values.levels),
    results: values.results,
  }
}

/** As the engine has them: what is cut, and compressed, at once, and the largest chunk. */
const batchBytes = 4 * MiB
const chunkSize = 64 * KiB

/** A read that somebody waits for: a filesystem's, through a mount of a point. */
const readBytes = 64 * KiB
const readsPerBatch = 2

/** New chunks of one batch, as the engine would compress them. */
interface Chunks {
  readonly plain: ArrayBuffer
  readonly offsets: Uint32Array
  readonly lengths: Uint32Array
  readonly hashes: readonly Uint8Array[]
}

/** Sums of one combination. */
class Tally {
  readonly frameKib: number
  readonly level: number
  readonly readMs: number[] = []
  plainBytes = 0
  storedBytes = 0
  seconds = 0

  constructor(frameKib: number, level: number) {
    this.frameKib = frameKib
    this.level = level
  }

  get ratio(): number {
    return this.storedBytes === 0 ? 0 : this.plainBytes / this.storedBytes
  }

  get bytesPerSecond(): number {
    return this.seconds === 0 ? 0 : this.plainBytes / this.seconds
  }
}

/** Cuts a batch by content, and drops zeros and what was seen before. */
function newChunks(plain: ArrayBuffer, from: number, used: number, seen: Set<string>): Chunks {
  const offsets = Float64Array.of(from)
  const { lengths } = runCut({ plain, offsets, pieces: Uint32Array.of(used), chunkSize, final: true })
  const { hashes, zeros } = runHash({ plain, lengths })
  const kept: { offset: number; length: number; hash: Uint8Array }[] = []
  let offset = 0
  for (const [i, length] of lengths.entries()) {
    const hash = hashes.subarray(i * 32, i * 32 + 32)
    const name = bytesToHex(hash)
    const zero = ((zeros[i >> 3] ?? 0) & (1 << (i & 7))) !== 0
    if (!zero && !seen.has(name)) kept.push({ offset, length, hash })
    seen.add(name)
    offset += length
  }
  return {
    plain,
    offsets: Uint32Array.from(kept, (chunk) => chunk.offset),
    lengths: Uint32Array.from(kept, (chunk) => chunk.length),
    hashes: kept.map((chunk) => chunk.hash),
  }
}

/** How many chunks each frame gets. */
function groupFrames(lengths: Uint32Array, frameBytes: number): Uint32Array {
  const frames: number[] = []
  let plain = Infinity
  for (const length of lengths) {
    if (plain + length > frameBytes) {
      frames.push(0)
      plain = 0
    }
    frames[frames.length - 1] = (frames.at(-1) ?? 0) + 1
    plain += length
  }
  return Uint32Array.from(frames)
}

function compress(chunks: Chunks, tally: Tally): { job: EncodeJob; result: EncodeResult } {
  const { plain, offsets, lengths } = chunks
  const frameChunks = groupFrames(lengths, tally.frameKib * KiB)
  const job = { plain, offsets, lengths, frameChunks, level: tally.level, verify: true }
  const startMs = performance.now()
  const result = runEncode(job)
  tally.seconds += (performance.now() - startMs) / 1000
  tally.plainBytes += lengths.reduce((sum, length) => sum + length, 0)
  tally.storedBytes += result.stored.byteLength
  return { job, result }
}

/** Reads some 64 KiB from a random chunk on: decompresses that chunk's frame, and hashes what was asked for. */
function readOne(chunks: Chunks, job: EncodeJob, result: EncodeResult, random: SeededBytes): number {
  const frame = random.below(job.frameChunks.length)
  const sum = (values: Uint32Array, end: number): number => values.subarray(0, end).reduce((a, b) => a + b, 0)
  const first = sum(job.frameChunks, frame)
  const end = first + (job.frameChunks[frame] ?? 0)
  const from = first + random.below(end - first)
  const wanted: number[] = []
  for (let i = from, bytes = 0; i < end && bytes < readBytes; i += 1) {
    wanted.push(i)
    bytes += chunks.lengths[i] ?? 0
  }
  const start = sum(job.lengths, first)
  const decode = {
    stored: Uint8Array.from(result.stored).buffer,
    storedOffset: Uint32Array.of(sum(result.storedLength, frame)),
    storedLength: result.storedLength.slice(frame, frame + 1),
    plainLength: result.plainLength.slice(frame, frame + 1),
    crc: result.crc.slice(frame, frame + 1),
    codec: result.codec.slice(frame, frame + 1),
    wanted: Uint32Array.of(wanted.length),
    chunkOffset: Uint32Array.from(wanted, (i) => sum(job.lengths, i) - start),
    chunkLength: Uint32Array.from(wanted, (i) => job.lengths[i] ?? 0),
    hashes: Buffer.concat(wanted.map((i) => chunks.hashes[i] ?? new Uint8Array(32))),
  }
  const startMs = performance.now()
  const { state } = runDecode(decode)
  const tookMs = performance.now() - startMs
  if (state.some((value) => value !== 0)) throw new Error('A frame did not give back what was put into it')
  return tookMs
}

/** Offsets of batches, spread evenly over the image. */
function sampleOffsets(sizeBytes: number, sampleBytes: number): number[] {
  const all = Math.ceil(sizeBytes / batchBytes)
  const count = Math.max(1, Math.min(all, Math.round(sampleBytes / batchBytes)))
  return Array.from({ length: count }, (_, n) => Math.floor((n * all) / count) * batchBytes)
}

async function measureAll(image: FileHandle, options: FramesOptions): Promise<Tally[]> {
  const tallies = options.levels.flatMap((level) => options.framesKib.map((kib) => new Tally(kib, level)))
  const random = new SeededBytes('frames')
  const seen = new Set<string>()
  const offsets = sampleOffsets((await image.stat()).size, options.sampleMib * MiB)
  for (const [n, offset] of offsets.entries()) {
    const plain = new ArrayBuffer(batchBytes)
    const { bytesRead } = await image.read(new Uint8Array(plain), 0, batchBytes, offset)
    const chunks = newChunks(plain, offset, bytesRead, seen)
    if (chunks.lengths.length === 0) continue
    // All combinations take turns with each batch, beginning with another one each time: noise hits all alike.
    for (let i = 0; i < tallies.length; i += 1) {
      const tally = tallies[(i + n) % tallies.length]
      if (tally === undefined) continue
      const { job, result } = compress(chunks, tally)
      for (let read = 0; read < readsPerBatch; read += 1)
        tally.readMs.push(readOne(chunks, job, result, random))
    }
  }
  return tallies
}

function formatTallies(tallies: readonly Tally[]): string {
  const rows = tallies.map((tally) => [
    String(tally.level),
    formatNumber(tally.frameKib),
    tally.ratio.toFixed(2),
    formatNumber(tally.storedBytes / MiB),
    formatNumber(tally.bytesPerSecond / 1e6),
    formatNumber(tally.readMs.length === 0 ? 0 : median(tally.readMs)),
  ])
  return formatTable([['level', 'frame KiB', 'ratio', 'stored MiB', 'MB/s', 'read ms'], ...rows], 0)
}

/** Runs the benchmark, prints a row per combination, and writes the raw figures. */
export async function runFrames(options: FramesOptions, workspace: Workspace): Promise<void> {
  const { sizeGib, sampleMib } = options
  await ensurePackages(imagePackages)
  requireSpace(workspace.cache, sizeGib * GiB, spaceAdvice)
  const image = await open(await provideImage(workspace, sizeGib))
  let tallies: Tally[]
  try {
    tallies = await measureAll(image, options)
  } finally {
    await image.close()
  }
  const plainMib = formatNumber((tallies[0]?.plainBytes ?? 0) / MiB)
  console.log(
    `${plainMib} MiB of distinct chunks, cut by content, from ${formatNumber(Math.min(sampleMib, sizeGib * KiB))} MiB of the image. One thread.`,
  )
  console.log('MB/s: compressed, and decompressed again to compare, as a backup does.')
  console.log('read: median for 64 KiB at a random place, from a frame in memory to checked bytes.\n')
  console.log(formatTallies(tallies))
  const path = await writeResults(options.results, sizeGib === 8 ? 'frames' : `frames-${sizeGib}gib`, {
    benchmark: 'frames',
    commit: await describeCommit(),
    machine: describeMachine(),
    parameters: { sizeGib, sampleMib, batchBytes, chunkSize, readBytes },
    combinations: tallies.map((tally) => ({
      frameBytes: tally.frameKib * KiB,
      level: tally.level,
      plainBytes: tally.plainBytes,
      storedBytes: tally.storedBytes,
      seconds: tally.seconds,
      readMedianMs: tally.readMs.length === 0 ? null : median(tally.readMs),
    })),
  })
  console.log(`\nraw figures: ${path}`)
}
