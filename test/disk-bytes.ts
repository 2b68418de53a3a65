/** Disk contents made from a seed. */

import { SeededBytes } from '../bench/seeded-bytes.js'

export const KIB = 1024
export const MIB = 1024 * KIB

/** Bytes that do not compress and repeat nowhere. */
export function noise(seed: string, bytes: number): Buffer {
  return new SeededBytes(seed).next(bytes)
}

/** Like a real disk: stretches of zeros, of text that compresses, of noise, and of what came before. */
export function diskLike(seed: string, bytes: number): Buffer {
  const random = new SeededBytes(seed)
  const disk = Buffer.alloc(bytes)
  for (let at = 0; at < bytes; ) {
    const length = Math.min(bytes - at, (1 + random.below(64)) * 4 * KIB)
    const kind = random.below(5)
    if (kind === 1) disk.fill(`line ${random.below(1e6)} of a text that compresses well\n`, at, at + length)
    else if (kind === 2) copyEarlier(disk, at, length, random.below(Math.max(1, at - length)))
    else if (kind > 2) random.next(length).copy(disk, at)
    at += length
  }
  return disk
}

function copyEarlier(disk: Buffer, at: number, length: number, from: number): void {
  disk.copyWithin(at, from, Math.min(at, from + length))
}

/** A copy with `bytes` written over it at `offset`. */
export function overwritten(disk: Buffer, offset: number, bytes: Uint8Array): Buffer {
  const copy = Buffer.from(disk)
  copy.set(bytes, offset)
  return copy
}
