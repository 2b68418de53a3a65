import { once } from 'node:events'
import { type FileHandle, open, rm } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { GiB, MiB } from './image.js'
import type { LimitKind, LimitWork } from './limit-worker.js'
import { repositoryRoot } from './paths.js'
import { SeededBytes } from './seeded-bytes.js'

/** What this machine can do at best, in bytes a second. */
export interface Limits {
  readonly cores: number
  /** Of one thread, and of one on each core together. zstd at level 3, in plain bytes. */
  readonly sha256OneBytesPerSecond: number
  readonly sha256AllBytesPerSecond: number
  readonly zstdOneBytesPerSecond: number
  readonly zstdAllBytesPerSecond: number
  readonly unzstdOneBytesPerSecond: number
  readonly unzstdAllBytesPerSecond: number
  /** From the page cache, with one thread. */
  readonly readBytesPerSecond: number
  /** To a file, until it is on stable storage. */
  readonly writeBytesPerSecond: number
}

/** What some work cannot do without. Bytes, plain ones but for `written`. */
export interface Work {
  readonly read?: number
  readonly hashed?: number
  readonly compressed?: number
  readonly decompressed?: number
  readonly written?: number
}

const sampleBytes = 32 * MiB
const sampleBlock = MiB
const blockBytes = 4 * MiB
const writtenBytes = 512 * MiB
const defaultMs = 800

/** Blocks of an image that hold data, from all over it. */
async function sampleOf(image: FileHandle): Promise<SharedArrayBuffer> {
  const blocks = Math.max(1, Math.floor((await image.stat()).size / sampleBlock))
  const shared = new SharedArrayBuffer(Math.min(sampleBytes, blocks * sampleBlock))
  const sample = new Uint8Array(shared)
  const random = new SeededBytes('limits')
  const block = Buffer.alloc(sampleBlock)
  for (let at = 0, tries = 0; at < sample.length; tries += 1) {
    await image.read(block, 0, sampleBlock, random.below(blocks) * sampleBlock)
    // Half empty blocks are zeros to a large part; an image of nothing else shall do, too.
    if (tries < 10 * blocks && block.includes(Buffer.alloc(64 * 1024))) continue
    sample.set(block.subarray(0, sample.length - at), at)
    at += sampleBlock
  }
  return shared
}

/** @returns bytes a second of so many threads together */
async function rateOf(
  kind: LimitKind,
  data: SharedArrayBuffer,
  threads: number,
  ms: number,
): Promise<number> {
  const workerData: LimitWork = { kind, data, ms }
  const file = join(repositoryRoot, 'dist/bench/limit-worker.js')
  const workers = Array.from({ length: threads }, () => new Worker(file, { workerData }))
  await Promise.all(workers.map((worker) => once(worker, 'message')))
  const rates = workers.map(async (worker) => (await once(worker, 'message'))[0] as number)
  for (const worker of workers) worker.postMessage('begin')
  const sum = (await Promise.all(rates)).reduce((total, rate) => total + rate, 0)
  await Promise.all(workers.map((worker) => worker.terminate()))
  return sum
}

async function readRate(image: FileHandle, ms: number): Promise<number> {
  const { size } = await image.stat()
  const buffer = Buffer.alloc(blockBytes)
  // A part that fits into the page cache for certain, where the first time brings it.
  const blocks = Math.max(1, Math.floor(Math.min(size, GiB) / blockBytes))
  const readBlock = async (number: number): Promise<number> =>
    (await image.read(buffer, 0, blockBytes, (number % blocks) * blockBytes)).bytesRead
  for (let i = 0; i < blocks; i += 1) await readBlock(i)
  const startMs = performance.now()
  let bytes = 0
  for (let i = 0; performance.now() - startMs < ms; i += 1) bytes += await readBlock(i)
  return bytes / ((performance.now() - startMs) / 1000)
}

async function writeRate(scratch: string, bytes: number): Promise<number> {
  const path = join(scratch, 'written')
  const block = new SeededBytes('written').next(blockBytes)
  const file = await open(path, 'wx')
  const startMs = performance.now()
  for (let at = 0; at < bytes; at += blockBytes) await file.write(block, 0, blockBytes, at)
  await file.sync()
  const seconds = (performance.now() - startMs) / 1000
  await file.close()
  await rm(path)
  return bytes / seconds
}

/**
 * Measures what this machine can do with the data of an image: a lower bound for all that has to hash, compress, read and write it.
 *
 * @param ms  for each measurement; shorter than the default only where figures do not matter
 */
export async function measureLimits(imagePath: string, scratch: string, ms = defaultMs): Promise<Limits> {
  const cores = availableParallelism()
  const image = await open(imagePath)
  try {
    const data = await sampleOf(image)
    const rate = (kind: LimitKind, threads: number): Promise<number> => rateOf(kind, data, threads, ms)
    return {
      cores,
      sha256OneBytesPerSecond: await rate('sha256', 1),
      sha256AllBytesPerSecond: await rate('sha256', cores),
      zstdOneBytesPerSecond: await rate('zstd', 1),
      zstdAllBytesPerSecond: await rate('zstd', cores),
      unzstdOneBytesPerSecond: await rate('unzstd', 1),
      unzstdAllBytesPerSecond: await rate('unzstd', cores),
      readBytesPerSecond: await readRate(image, ms),
      writeBytesPerSecond: await writeRate(scratch, ms < defaultMs ? 16 * MiB : writtenBytes),
    }
  } finally {
    await image.close()
  }
}

/**
 * The least time that some work can take: all cores hash, compress and decompress without a pause and share the reading, and what is written is
 * written meanwhile.
 */
export function leastSeconds(work: Work, limits: Limits): number {
  const { read = 0, hashed = 0, compressed = 0, decompressed = 0, written = 0 } = work
  const cores =
    read / (limits.readBytesPerSecond * limits.cores) +
    hashed / limits.sha256AllBytesPerSecond +
    compressed / limits.zstdAllBytesPerSecond +
    decompressed / limits.unzstdAllBytesPerSecond
  return Math.max(cores, written / limits.writeBytesPerSecond)
}
