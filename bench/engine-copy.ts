import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import binding from 'zstd-napi/binding.js'
import type { Change } from './changes.js'
import { run } from './command.js'
import { secondsToSync, writeOut } from './engine-round.js'
import { secondsOf } from './measure.js'

/** `cp --sparse=always` of the image, until the copy is on stable storage; and without waiting for that. */
export interface CopyFigures {
  readonly wallSeconds: number
  readonly unsyncedSeconds: number
}

/** Copies the image: what a restore is held against. */
export async function measureCopy(image: string, scratch: string): Promise<CopyFigures> {
  const copy = join(scratch, 'copy')
  await writeOut(scratch)
  const args = ['--sparse=always', '--reflink=never', image, copy]
  const unsyncedSeconds = await secondsOf(() => run({ program: 'cp', args }))
  const syncSeconds = await secondsToSync(copy)
  await rm(copy)
  return { wallSeconds: unsyncedSeconds + syncSeconds, unsyncedSeconds }
}

/** Bytes that `zstd -3` makes of all changed bytes, one after the other: what an incremental is held against. */
export function zstdBytes(changes: readonly Change[]): number {
  const plain = Buffer.concat(changes.map(({ data }) => data))
  const compressor = new binding.CCtx()
  compressor.setParameter(binding.CParameter.compressionLevel, 3)
  return compressor.compress2(new Uint8Array(binding.compressBound(plain.length)), plain)
}
