import { setImmediate } from 'node:timers/promises'
import { ByteExtents, ByteExtentsBuilder } from './byte-extents.js'

/** From lseek(2), of Linux: the next byte of data, and the next hole (the end of the file is one). */
const SEEK_DATA = 3
const SEEK_HOLE = 4
const ENXIO = 6

/** Shorter holes are read: a disk is cut where they begin and end, and chunks there are small. */
const HOLE_BYTES_MIN = 1024 * 1024
/** Extents that are asked for before others have their turn: 2 ms, about. */
const EXTENTS_AT_ONCE = 1024

type Seek = (file: number, offset: number, whence: number) => number | bigint

interface SystemCalls {
  readonly seek: Seek
  /** Of the last call. */
  errno(): number
}

let systemCalls: Promise<SystemCalls | undefined> | undefined

/** Node.js has no lseek. */
async function loadSystemCalls(): Promise<SystemCalls | undefined> {
  if (process.platform !== 'linux') return undefined
  try {
    const koffi = await import('koffi')
    const seek = koffi.default
      .load(null)
      .func('int64_t lseek64(int file, int64_t offset, int whence)') as Seek
    return { seek, errno: () => koffi.default.errno() }
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
  systemCalls ??= loadSystemCalls()
  const system = await systemCalls
  return system === undefined ? ByteExtents.from([]) : findHoles(system, descriptor, sizeBytes, grid)
}

async function findHoles(
  system: SystemCalls,
  descriptor: number,
  sizeBytes: number,
  grid: number,
): Promise<ByteExtents> {
  const holes = new ByteExtentsBuilder()
  const add = (from: number, to: number): void => {
    const start = Math.ceil(from / grid) * grid
    const end = to >= sizeBytes ? sizeBytes : Math.floor(to / grid) * grid
    if (end - start >= HOLE_BYTES_MIN) holes.add(start, end - start)
  }
  let asked = 0
  for (let at = 0; at < sizeBytes; ) {
    const data = Number(system.seek(descriptor, at, SEEK_DATA))
    if (data < 0) {
      // No data from here on; any other answer means that it cannot be told, and what follows is data.
      if (system.errno() === ENXIO) add(at, sizeBytes)
      break
    }
    add(at, Math.min(data, sizeBytes))
    const hole = Number(system.seek(descriptor, data, SEEK_HOLE))
    if (hole <= data) break
    at = hole
    if (++asked % EXTENTS_AT_ONCE === 0) await setImmediate()
  }
  return holes.build()
}
