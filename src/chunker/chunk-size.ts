import { EverfoldError } from '../errors.js'

export const CHUNK_SIZE_MIN_BYTES = 4 * 1024
export const CHUNK_SIZE_MAX_BYTES = 4 * 1024 * 1024
export const CHUNK_SIZE_DEFAULT_BYTES = 64 * 1024

/** May a repository have this chunk size? A power of two from 4 KiB to 4 MiB. */
export function isChunkSize(bytes: number): boolean {
  const inRange = Number.isInteger(bytes) && bytes >= CHUNK_SIZE_MIN_BYTES && bytes <= CHUNK_SIZE_MAX_BYTES
  return inRange && (bytes & (bytes - 1)) === 0
}

/** @throws EverfoldError ARGUMENT_INVALID unless `bytes` is a chunk size. */
export function checkChunkSize(bytes: number): void {
  if (isChunkSize(bytes)) return
  throw new EverfoldError(
    'ARGUMENT_INVALID',
    `the chunk size is a power of two from ${CHUNK_SIZE_MIN_BYTES} (4 KiB) to ${CHUNK_SIZE_MAX_BYTES} (4 MiB) bytes, not ${bytes}`,
    { details: { chunkSize: bytes } },
  )
}
