import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import { KIB } from './disk-bytes.js'

/** Holes between data are just too small to be left out of a backup. */
const STEP_BYTES = 960 * KIB

/** A file that takes long to read, and little to make. */
export function writeThinFile(path: string, sizeBytes: number): void {
  const file = openSync(path, 'w')
  ftruncateSync(file, sizeBytes)
  for (let offset = 0; offset < sizeBytes; offset += STEP_BYTES) writeSync(file, 'x', offset)
  closeSync(file)
}
