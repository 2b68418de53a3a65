import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { LocalStore } from '../src/store/local-store.js'
import { MemoryStore } from '../src/store/memory-store.js'
import { storeContract } from './contracts/store-contract.js'

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
storeContract('LocalStore with room for one open file', async () =>
  LocalStore.open(await newFolder(), { openFilesMax: 1 }),
)
