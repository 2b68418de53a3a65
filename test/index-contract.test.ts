import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

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
