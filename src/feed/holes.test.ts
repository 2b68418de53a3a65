import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { KIB, MIB, noise } from '../../test/disk-bytes.js'
import { openDiskSource } from './disk-source.js'
import { findHoles, type Seeking } from './holes.js'

const GRID = 64 * KIB

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'everfold-test-'))
})

afterEach(() => rm(folder, { recursive: true }))

/** A file of which only these pieces were ever written. */
async function sparse(sizeBytes: number, pieces: readonly (readonly [number, number])[]): Promise<string> {
  const path = join(folder, 'disk')
  const file = await open(path, 'w')
  await file.truncate(sizeBytes)
  for (const [offset, length] of pieces) await file.write(noise('piece', length), 0, length, offset)
  await file.close()
  return path
}

async function holesIn(path: string): Promise<[number, number][]> {
  const source = await openDiskSource(path)
  const found = await source.holes?.(GRID)
  await source.close()
  return [...(found ?? [])].map(({ offset, length }) => [offset, length])
}

/** What all file handles have in common. */
async function handlesOf(path: string): Promise<FileHandle> {
  const file = await open(path)
  await file.close()
  return Object.getPrototypeOf(file) as FileHandle
}

describe('holes of a file', () => {
  it('are those of a megabyte and more, on the grid, up to its end', async () => {
    const path = await sparse(32 * MIB + 5, [
      [100, 200],
      [2 * MIB + 300, 5],
      [3 * MIB + 4096, 100 * KIB],
      [20 * MIB - 4096, 8192],
    ])
    const grown = 3 * MIB + 4096 + 100 * KIB
    expect(await holesIn(path)).toEqual([
      [GRID, 2 * MIB - GRID],
      // Less than a megabyte lies before the third piece.
      [Math.ceil(grown / GRID) * GRID, 20 * MIB - GRID - Math.ceil(grown / GRID) * GRID],
      [20 * MIB + GRID, 12 * MIB + 5 - GRID],
    ])
  })

  it('are all of a file that was never written to', async () => {
    expect(await holesIn(await sparse(5 * MIB + 1, []))).toEqual([[0, 5 * MIB + 1]])
  })

  it('are none in a file that was written whole, whatever it holds, and in an empty one', async () => {
    const path = join(folder, 'full')
    const file = await open(path, 'w')
    await file.write(Buffer.alloc(8 * MIB))
    await file.close()
    expect(await holesIn(path)).toEqual([])
    expect(await holesIn(await sparse(0, []))).toEqual([])
  })

  it('are looked for once all that was written is on the disk', async () => {
    const calls: string[] = []
    const path = await sparse(8 * MIB, [])
    const file = await handlesOf(path)
    const datasync = vi.spyOn(file, 'datasync').mockImplementation(async () => {
      calls.push('sync begins')
      const writer = await open(path, 'r+')
      await writer.write(noise('just', 100), 0, 100, 5 * MIB)
      await writer.close()
    })
    try {
      const found = await holesIn(path)
      expect(calls).toEqual(['sync begins'])
      expect(found).toEqual([
        [0, 5 * MIB],
        [5 * MIB + GRID, 3 * MIB - GRID],
      ])
    } finally {
      datasync.mockRestore()
    }
  })

  it('are none where the file system cannot say what is on the disk, such as one that is only read', async () => {
    const path = await sparse(8 * MIB, [])
    const refusal = Object.assign(new Error('EINVAL: invalid argument, fdatasync'), { code: 'EINVAL' })
    const datasync = vi.spyOn(await handlesOf(path), 'datasync').mockRejectedValue(refusal)
    try {
      expect(await holesIn(path)).toEqual([])
    } finally {
      datasync.mockRestore()
    }
  })

  it('never hold a byte that was just written', async () => {
    const path = await sparse(64 * MIB, [])
    for (let round = 0; round < 40; round++) {
      const at = ((round * 29) % 64) * MIB + ((round * 7919) % MIB)
      const file = await open(path, 'r+')
      await file.write(noise('just', 100), 0, 100, at)
      await file.close()
      for (const [offset, length] of await holesIn(path))
        expect(at + 100 <= offset || at >= offset + length).toBe(true)
    }
  })
})

const SEEK_DATA = 3
const ENXIO = 6

/** A file system with a hole before each of these ends of data, and with data of one grid cell there. */
function fileSystem(
  ends: Iterable<number>,
  seekMs: (offset: number) => number,
): Seeking & { calls: string[] } {
  const rest = ends[Symbol.iterator]()
  let end: number | undefined = rest.next().value
  let now = 0
  const calls: string[] = []
  const answer = (offset: number, whence: number): number => {
    now += seekMs(offset)
    if (whence !== SEEK_DATA) return offset + GRID
    while (end !== undefined && end <= offset) end = rest.next().value
    return end === undefined ? -ENXIO : end - GRID
  }
  return {
    calls,
    monotonicMs: () => now,
    seek: (_, ...args) => {
      calls.push('here')
      return answer(...args)
    },
    seekAside: async (_, ...args) => {
      calls.push('aside')
      return answer(...args)
    },
  }
}

describe('a file system that is asked for holes', () => {
  it('blocks one call where it begins to be slow, and none from then on', async () => {
    const ends = Array.from({ length: 6 }, (_, i) => 4 * MIB * (i + 1))
    const system = fileSystem(ends, (offset) => (offset >= 10 * MIB ? 1000 : 0))
    const found = await findHoles(system, 0, 24 * MIB, GRID)
    expect(found.count).toBe(6)
    expect(system.calls.join(' ')).toMatch(/^aside( here)+( aside)+$/)
  })

  it('is asked without another thread as long as it is fast', async () => {
    const ends = Array.from({ length: 6 }, (_, i) => 4 * MIB * (i + 1))
    const system = fileSystem(ends, (offset) => (offset === 0 ? 1000 : 0.1))
    await findHoles(system, 0, 24 * MIB, GRID)
    expect(system.calls.join(' ')).toMatch(/^aside aside( here)+$/)
  })

  it('may have any number of them: the longest are remembered', async () => {
    const COUNT = 2 ** 21 + 2 ** 14
    const SIZE = COUNT * 2 * MIB + 100 * MIB
    function* ends(): Generator<number> {
      for (let i = 1; i <= COUNT; i++) yield i * 2 * MIB + (i % 1000 === 0 ? MIB : 0)
    }
    const found = await findHoles(
      fileSystem(ends(), () => 0),
      0,
      SIZE,
      GRID,
    )
    expect(found.count).toBe(Math.floor(COUNT / 1000) + 1)
    expect(found.end(found.count - 1)).toBe(SIZE)
  }, 60_000)
})
