/** A thread that does one thing with the same data over and over, for `limits.ts`. */
import { createHash } from 'node:crypto'
import { parentPort, workerData } from 'node:worker_threads'
import binding from 'zstd-napi/binding.js'
import { KiB } from './image.js'

export const limitKinds = ['sha256', 'zstd', 'unzstd'] as const
export type LimitKind = (typeof limitKinds)[number]

export interface LimitWork {
  readonly kind: LimitKind
  /** Real data: how well it compresses decides how fast. */
  readonly data: SharedArrayBuffer
  readonly ms: number
}

/** As the engine has them. */
const chunkBytes = 64 * KiB
const frameBytes = 512 * KiB
const level = 3

function pieces(data: Uint8Array, bytes: number): Uint8Array[] {
  return Array.from({ length: Math.ceil(data.length / bytes) }, (_, i) =>
    data.subarray(i * bytes, Math.min(data.length, (i + 1) * bytes)),
  )
}

/** What is done with a piece of data, again and again. */
function stepsOf({ kind, data }: LimitWork): (() => number)[] {
  const plain = Uint8Array.from(new Uint8Array(data))
  if (kind === 'sha256')
    return pieces(plain, chunkBytes).map((piece) => () => {
      createHash('sha256').update(piece).digest()
      return piece.length
    })
  const compressor = new binding.CCtx()
  compressor.setParameter(binding.CParameter.compressionLevel, level)
  const room = new Uint8Array(binding.compressBound(frameBytes))
  const frames = pieces(plain, frameBytes)
  if (kind === 'zstd')
    return frames.map((frame) => () => {
      compressor.compress2(room, frame)
      return frame.length
    })
  const decompressor = new binding.DCtx()
  const back = new Uint8Array(frameBytes)
  return frames.map((frame) => {
    const packed = room.slice(0, compressor.compress2(room, frame))
    return () => decompressor.decompress(back, packed)
  })
}

const work = workerData as LimitWork
const steps = stepsOf(work)
// All threads begin when all are ready.
parentPort?.once('message', () => {
  const startMs = performance.now()
  let bytes = 0
  for (let i = 0; performance.now() - startMs < work.ms; i += 1) bytes += steps[i % steps.length]?.() ?? 0
  parentPort?.postMessage(bytes / ((performance.now() - startMs) / 1000))
})
parentPort?.postMessage('ready')
