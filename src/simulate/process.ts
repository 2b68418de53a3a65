import { COMPLETE } from '../chain/open-repository.js'
import { Repository } from '../chain/repository.js'
import type { Environment } from '../environment.js'
import type { ChunkIndex } from '../index/chunk-index.js'
import type { MemoryIndex } from '../index/memory-index.js'
import { rebuildIndex } from '../index/rebuild.js'
import type { Crew } from '../pack/crew.js'
import { InlineCrew } from '../pack/inline-crew.js'
import { type DecideFault, FaultyStore } from '../store/faulty-store.js'
import { LocalStore } from '../store/local-store.js'
import type { Scheduler } from './scheduler.js'
import type { VolatileFileSystem } from './volatile-file-system.js'

/** Where the repository lies in the simulated file system. */
export const ROOT = '/repository'

/** What a process works with. `fault` and `turn` are those of the step that is going on. */
export interface Surroundings {
  readonly files: VolatileFileSystem
  readonly index: MemoryIndex
  readonly environment: Environment
  readonly decideFault: DecideFault
  readonly turn: () => Promise<void>
  readonly batchBytes: number
}

/** Starts a process: opens the repository, with an index that is rebuilt if it was never complete. */
export async function openProcess(around: Surroundings): Promise<Repository> {
  const local = await LocalStore.open(ROOT, { fileSystem: around.files, environment: around.environment })
  const store = new FaultyStore(local, around.decideFault)
  return Repository.open({
    store,
    crew: crewInTurns(around.turn),
    environment: around.environment,
    batchBytes: around.batchBytes,
    openIndex: async (quarantine) => {
      const index = indexInTurns(around.index, around.turn)
      if ((await index.getNote(COMPLETE)) === undefined) {
        await rebuildIndex(store, quarantine, index)
        await index.putNote(COMPLETE, 'yes')
      }
      return index
    },
  })
}

/** An index whose every call waits for its turn, before and after its effect. */
function indexInTurns(inner: ChunkIndex, turn: () => Promise<void>): ChunkIndex {
  const inTurn = async <T>(work: () => Promise<T>): Promise<T> => {
    await turn()
    const result = await work()
    await turn()
    return result
  }
  return {
    lookup: (hashes) => inTurn(() => inner.lookup(hashes)),
    addPack: (packId, hashes, except) => inTurn(() => inner.addPack(packId, hashes, except)),
    removeChunks: (packId, hashes, which) => inTurn(() => inner.removeChunks(packId, hashes, which)),
    removePacks: (packs) => inTurn(() => inner.removePacks(packs)),
    forgetPack: (packId) => inTurn(() => inner.forgetPack(packId)),
    hasPack: (packId) => inTurn(() => inner.hasPack(packId)),
    packIds: () => inner.packIds(),
    getNote: (name) => inTurn(() => inner.getNote(name)),
    putNote: (name, value) => inTurn(() => inner.putNote(name, value)),
    clear: () => inTurn(() => inner.clear()),
    sizes: () => inner.sizes(),
    close: async () => undefined,
  }
}

function crewInTurns(turn: () => Promise<void>): Crew {
  const inner = new InlineCrew()
  return {
    size: 2,
    expect: () => undefined,
    cut: async (job) => turn().then(() => inner.cut(job)),
    hash: async (job) => turn().then(() => inner.hash(job)),
    encode: async (job) => turn().then(() => inner.encode(job)),
    decode: async (job) => turn().then(() => inner.decode(job)),
    check: async (job) => turn().then(() => inner.check(job)),
    compare: async (job) => turn().then(() => inner.compare(job)),
    scan: async (job) => turn().then(() => inner.scan(job)),
    pick: async (job) => turn().then(() => inner.pick(job)),
    close: async () => undefined,
  }
}

/** The power of a process: gives turns while it runs. */
export interface Power {
  scheduler: Scheduler
}
