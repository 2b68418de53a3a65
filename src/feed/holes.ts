import { setImmediate } from 'node:timers/promises'
import { ByteExtents, ByteExtentsBuilder } from './byte-extents.js'

/** From lseek(2), of Linux: the next byte of data, and the next hole (the end of the file is one). */
const SEEK_DATA = 3
const SEEK_HOLE = 4
const ENXIO = 6

/** Shorter holes are read: a disk is cut where they begin and end, and chunks there are small. */
const HOLE_BYTES_MIN = 1024 * 1024
/** Holes that are kept: 16 bytes each, and twice that while they are looked for. Where there are more, the shortest are read. */
const HOLES_MAX = 2 ** 21
/** Extents that are asked for before others have their turn: 2 ms, about. */
const EXTENTS_AT_ONCE = 1024
/** After a call that took longer, the next one is made by another thread: it costs as much as 25 of them otherwise. */
const SLOW_CALL_MS = 5

/** What lseek(2) answers, or a negative error number. */
type Seek = (descriptor: number, offset: number, whence: number) => number

/** How the kernel is asked. */
export interface Seeking {
  readonly seek: Seek
  /** Made by another thread: everything else goes on, however long the file system takes. */
  readonly seekAside: (...args: Parameters<Seek>) => Promise<number>
  readonly monotonicMs: () => number
}

let seeking: Promise<Seeking | undefined> | undefined

/** Node.js has no lseek. */
async function loadSeeking(): Promise<Seeking | undefined> {
  if (process.platform !== 'linux') return undefined
  try {
    const koffi = (await import('koffi')).default
    const call = koffi.load(null).func('int64_t lseek64(int file, int64_t offset, int whence)')
    // In the callback, too, it is the error number of that call.
    const answer = (at: number | bigint): number => (at < 0 ? -koffi.errno() : Number(at))
    return {
      seek: (...args) => answer(call(...args) as number | bigint),
      seekAside: (...args) =>
        new Promise((resolve, reject) => {
          call.async(...args, (error: unknown, at: number | bigint) => {
            if (error instanceof Error) reject(error)
            else resolve(answer(at))
          })
        }),
      monotonicMs: () => performance.now(),
    }
  } catch {
    // There is none built for this machine: then holes are read, and cost time, but nothing else.
    return undefined
  }
}

/**
 * Large ranges of a regular file that hold nothing and read as zeros: disks of virtual machines are often thin.
 * @param descriptor  only its position changes
 * @param grid        bytes: holes begin and end on multiples of it, or at the end
 * @returns none where the file system does not tell
 */
export async function holesOf(descriptor: number, sizeBytes: number, grid: number): Promise<ByteExtents> {
  seeking ??= loadSeeking()
  const loaded = await seeking
  return loaded === undefined ? ByteExtents.from([]) : findHoles(loaded, descriptor, sizeBytes, grid)
}

export async function findHoles(
  { seek, seekAside, monotonicMs }: Seeking,
  descriptor: number,
  sizeBytes: number,
  grid: number,
): Promise<ByteExtents> {
  let holes = new ByteExtentsBuilder()
  let least = HOLE_BYTES_MIN
  const add = (from: number, to: number): void => {
    const start = Math.ceil(from / grid) * grid
    const end = to >= sizeBytes ? sizeBytes : Math.floor(to / grid) * grid
    if (end - start < least) return
    holes.add(start, end - start)
    for (; holes.count >= HOLES_MAX; least *= 2) holes = notBelow(least * 2, holes.build())
  }
  // Nothing is known of the file system yet: a server may not answer at all.
  let isSlow = true
  const ask = async (offset: number, whence: number): Promise<number> => {
    const started = monotonicMs()
    const answer = isSlow ? await seekAside(descriptor, offset, whence) : seek(descriptor, offset, whence)
    isSlow = monotonicMs() - started > SLOW_CALL_MS
    return answer
  }
  let asked = 0
  for (let at = 0; at < sizeBytes; ) {
    const data = await ask(at, SEEK_DATA)
    if (data < 0) {
      // No data from here on; any other answer means that it cannot be told, and what follows is data.
      if (data === -ENXIO) add(at, sizeBytes)
      break
    }
    add(at, Math.min(data, sizeBytes))
    const hole = await ask(data, SEEK_HOLE)
    if (hole <= data) break
    at = hole
    if (++asked % EXTENTS_AT_ONCE === 0) await setImmediate()
  }
  return holes.build()
}

function notBelow(bytes: number, extents: ByteExtents): ByteExtentsBuilder {
  const kept = new ByteExtentsBuilder()
  for (const { offset, length } of extents) if (length >= bytes) kept.add(offset, length)
  return kept
}
