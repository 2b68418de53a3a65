import { COMPLETE } from '../chain/open-repository.js'
import { Repository } from '../chain/repository.js'
import type { Environment } from '../environment.js'
import type { ChunkIndex } from '../index/chunk-index.js'
import type { MemoryIndex } from '../index/memory-index.js'
import { rebuildIndex } from '../index/rebuild.js'
import type { Crew } from '../pack/crew.js'
import { InlineCrew } from '../pack/inline-crew.js'
import { SharedWork } from '../pack/shared-work.js'
import { type DecideFault, FaultyStore } from '../store/faulty-store.js'
import { LocalStore } from '../store/local-store.js'
import type { OpenDisks } from './open-disks.js'
import type { Work } from './plan.js'
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
  readonly work: Work | undefined
  readonly disks: OpenDisks
  /** Told of what must not be done, whatever comes of it. */
  readonly misused: (what: string) => void
}

/** Starts a process: opens the repository, with an index that is rebuilt if it was never complete. */
export async function openProcess(around: Surroundings): Promise<Repository> {
  const { work } = around
  const local = await LocalStore.open(ROOT, { fileSystem: around.files, environment: around.environment })
  await local.removeLeftovers().catch(() => undefined)
  const store = new FaultyStore(local, around.decideFault)
  return Repository.open({
    store,
    crew: crewInTurns(around),
    environment: around.environment,
    batchBytes: around.batchBytes,
    ...(work !== undefined && {
      earlyBytes: work.earlyBytes,
      segmentExtents: work.segmentExtents,
      joinLimits: work.joinLimits,
    }),
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

function crewInTurns({ turn, work, disks, misused }: Surroundings): Crew {
  const inner = new InlineCrew(disks.read)
  const shared = work?.shares === true ? new SharedWork() : undefined
  const inTurn = <T>(job: () => Promise<T>): Promise<T> => {
    let begun = 0
    const begin = (): Promise<T> => {
      // What it was handed may be in use for something else by now.
      if (++begun > 1) misused('a job was done twice')
      return turn().then(job)
    }
    return shared === undefined ? begin() : shared.run(begin, begin)
  }
  return {
    size: 2,
    expect: () => undefined,
    cut: (job) => inTurn(() => inner.cut(job)),
    hash: (job) => inTurn(() => inner.hash(job)),
    encode: (job) => inTurn(() => inner.encode(job)),
    decode: (job) => inTurn(() => inner.decode(job)),
    check: (job) => inTurn(() => inner.check(job)),
    compare: (job) => inTurn(() => inner.compare(job)),
    scan: (job) => inTurn(() => inner.scan(job)),
    pick: (job) => inTurn(() => inner.pick(job)),
    close: async () => undefined,
  }
}

/** The power of a process: gives turns while it runs. */
export interface Power {
  scheduler: Scheduler
}
