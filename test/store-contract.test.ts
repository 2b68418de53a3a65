import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { systemError, VolatileFileSystem } from '../src/simulate/volatile-file-system.js'
import { FaultyStore } from '../src/store/faulty-store.js'
import { LocalStore } from '../src/store/local-store.js'
import { MemoryStore } from '../src/store/memory-store.js'
import { storeContract } from './contracts/store-contract.js'
import { wrapFileSystem } from './contracts/wrapped-file-system.js'

const folders: string[] = []

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'everfold-store-'))
  folders.push(folder)
  return folder
}

afterAll(async () => {
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true })))
})

storeContract('MemoryStore', () => new MemoryStore())
storeContract('LocalStore', async () => LocalStore.open(await newFolder()))
storeContract('LocalStore without hard links', async () =>
  LocalStore.open(await newFolder(), {
    fileSystem: wrapFileSystem({
      calls: {
        link: async (_, added) => {
          throw systemError('EPERM', added)
        },
      },
    }),
  }),
)
storeContract('LocalStore in memory, without a disk', async () =>
  LocalStore.open('/store', { fileSystem: new VolatileFileSystem(), create: true }),
)
storeContract(
  'FaultyStore without faults',
  async () => new FaultyStore(await LocalStore.open(await newFolder()), () => undefined),
)
storeContract('LocalStore with room for one open file', async () =>
  LocalStore.open(await newFolder(), { openFilesMax: 1 }),
)
