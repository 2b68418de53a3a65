/**
 * What a killed process wrote and had no time to sync is there for the next one, until the power is cut. Here a first operation is
 * killed at each of its steps, a second one is done by a new process, and then the power is cut: every point that is listed must be
 * whole, and what the second operation acknowledged must be there.
 */

import { describe, expect, it } from 'vitest'
import { COMPLETE } from '../src/chain/open-repository.js'
import { Repository } from '../src/chain/repository.js'
import { MemoryIndex } from '../src/index/memory-index.js'
import { rebuildIndex } from '../src/index/rebuild.js'
import { foldTo } from '../src/merge/fold.js'
import { collectGarbage } from '../src/merge/gc.js'
import { InlineCrew } from '../src/pack/inline-crew.js'
import { VolatileFileSystem } from '../src/simulate/volatile-file-system.js'
import { LocalStore } from '../src/store/local-store.js'
import { KIB, noise, overwritten } from './disk-bytes.js'
import { backUpBytes, restoreBytes } from './memory-repository.js'

const BLOCK = 4 * KIB
const ROOT = '/repository'
const FULL = noise('full', 24 * BLOCK)
const SECOND = overwritten(FULL, 0, noise('second', 16 * BLOCK))
const THIRD = overwritten(SECOND, 4 * BLOCK, noise('third', 4 * BLOCK))
const OTHER = noise('other', 6 * BLOCK)
const CONTENTS = [FULL, SECOND, THIRD, OTHER]

const DEAD_SHARE = { deadShareMax: 0.1, graceRounds: 0 }

type Operation = (repository: Repository) => Promise<unknown>

/** A new process: with an index that is rebuilt from what it finds. */
async function open(fileSystem: VolatileFileSystem): Promise<Repository> {
  const store = await LocalStore.open(ROOT, { fileSystem, create: true })
  return Repository.open({
    store,
    crew: new InlineCrew(),
    openIndex: async (quarantine) => {
      const index = new MemoryIndex()
      await rebuildIndex(store, quarantine, index)
      await index.putNote(COMPLETE, 'yes')
      return index
    },
  })
}

async function prepared(): Promise<VolatileFileSystem> {
  const fileSystem = new VolatileFileSystem()
  const store = await LocalStore.open(ROOT, { fileSystem, create: true })
  await Repository.init(store, { chunkSize: BLOCK, frameSize: 2 * BLOCK, packSize: 64 * KIB })
  const repository = await open(fileSystem)
  await backUpBytes(repository, 'm', FULL, { chunker: 'fixed' })
  await backUpBytes(repository, 'm', SECOND)
  return fileSystem
}

const killed: Readonly<Record<string, Operation>> = {
  'a backup': (repository) => backUpBytes(repository, 'm', THIRD),
  "a machine's first backup": (repository) => backUpBytes(repository, 'n', OTHER, { chunker: 'fixed' }),
  'a fold': (repository) => foldTo(repository, 'm', 1),
  'a fold and collections': async (repository) => {
    await foldTo(repository, 'm', 1)
    for (let round = 0; round < 3; round++) await collectGarbage(repository, DEAD_SHARE)
  },
}

const next: Readonly<Record<string, Operation>> = {
  'a backup of the same': (repository) => backUpBytes(repository, 'o', Buffer.concat([OTHER, THIRD])),
  'the next backup': (repository) => backUpBytes(repository, 'm', THIRD),
  collections: async (repository) => {
    for (let round = 0; round < 3; round++) await collectGarbage(repository, DEAD_SHARE)
  },
}

/** @returns whether the operation came to its end before it was killed at this step */
async function kill(fileSystem: VolatileFileSystem, step: number, operation: Operation): Promise<boolean> {
  const repository = await open(fileSystem)
  await repository.index()
  let steps = 0
  const frozen = new Promise<false>((resolve) => {
    fileSystem.before = () => {
      if (++steps < step) return undefined
      resolve(false)
      return new Promise(() => {})
    }
  })
  const ended = operation(repository).then(() => true as const)
  const result = await Promise.race([frozen, ended])
  fileSystem.before = () => {}
  return result
}

/** Ids of all points by machine; each of them is restored. */
async function wholePoints(fileSystem: VolatileFileSystem, when: string): Promise<Map<string, string[]>> {
  const repository = await open(fileSystem)
  const points = new Map<string, string[]>()
  for (const machine of await repository.chains.machines()) {
    const { state } = await repository.chains.get(machine)
    for (const { id } of state.points) {
      const bytes = await restoreBytes(repository, machine, id).catch((error: unknown) => {
        throw new Error(`${when}: point ${id} of ${machine} cannot be restored`, { cause: error })
      })
      const isKnown = [...CONTENTS, Buffer.concat([OTHER, THIRD])].some((content) => content.equals(bytes))
      expect(isKnown, `${when}: bytes of ${id} of ${machine}`).toBe(true)
    }
    points.set(
      machine,
      state.points.map((point) => point.id),
    )
  }
  return points
}

describe.each(Object.keys(killed))('%s that was killed at any step', (first) => {
  it.each(Object.keys(next))(
    'leaves every point whole when a power cut follows %s',
    async (second) => {
      let ended = false
      for (let step = 1; !ended; step++) {
        const fileSystem = await prepared()
        ended = await kill(fileSystem, step, killed[first]!)
        const repository = await open(fileSystem)
        const answer = await next[second]!(repository)
        fileSystem.restart('loses all that is not synced')
        const points = await wholePoints(fileSystem, `killed at step ${step}`)
        expect(points.get('m')?.length).toBeGreaterThan(0)
        if (typeof answer === 'string') expect([...points.values()].flat()).toContain(answer)
        expect(step).toBeLessThan(1000)
      }
    },
    300_000,
  )
})
