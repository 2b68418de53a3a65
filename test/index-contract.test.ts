import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { describe, expect, it } from 'vitest'
import { LevelIndex } from '../src/index/level-index.js'
import { MemoryIndex } from '../src/index/memory-index.js'
import { indexContract } from './contracts/index-contract.js'

indexContract('MemoryIndex', async () => ({ index: new MemoryIndex() }))

indexContract('LevelIndex', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'everfold-index-'))
  const path = join(folder, 'index')
  // A small buffer, so that tables and compactions are met as well.
  const options = { writeBufferBytes: 256 << 10 }
  let index = await LevelIndex.open(path, options)
  return {
    index,
    reopen: async () => {
      await index.close()
      index = await LevelIndex.open(path, options)
      return index
    },
    dispose: () => rm(folder, { recursive: true }),
  }
})

describe('closing a LevelIndex', () => {
  it('leaves nothing of many entries in the log, which the next start would have to replay', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'everfold-index-'))
    const path = join(folder, 'index')
    try {
      const index = await LevelIndex.open(path)
      const hashes = new Uint8Array(20_000 * 32)
      for (let i = 0; i < 20_000; i++) new DataView(hashes.buffer).setUint32(i * 32, i + 1)
      await index.addPack('ab'.repeat(32), hashes)
      await index.close()
      const files = await readdir(path)
      const sizes = await Promise.all(files.map(async (name) => (await stat(join(path, name))).size))
      const logged = files.reduce((sum, name, i) => sum + (name.endsWith('.log') ? (sizes[i] ?? 0) : 0), 0)
      expect(logged).toBeLessThan(1000)
      expect(files.some((name) => name.endsWith('.ldb'))).toBe(true)
      const again = await LevelIndex.open(path)
      const found = await again.lookup(hashes)
      expect(found.packs).toEqual(['ab'.repeat(32)])
      expect(found.packOf.every((pack) => pack === 0)).toBe(true)
      await again.close()
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})
