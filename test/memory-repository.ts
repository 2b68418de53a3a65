/** A small repository in memory, with the engine on the calling thread: for tests that damage thousands of copies of it. */

import { backUp, type DiskBackup } from '../src/chain/backup.js'
import { findPoint } from '../src/chain/find-point.js'
import { Repository, type RepositoryParts } from '../src/chain/repository.js'
import { ByteExtents } from '../src/feed/byte-extents.js'
import type { DiskSource } from '../src/feed/disk-source.js'
import { MemoryIndex } from '../src/index/memory-index.js'
import { InlineCrew } from '../src/pack/inline-crew.js'
import { planDisk } from '../src/restore/plan.js'
import { restoreDisk } from '../src/restore/restore.js'
import { MemoryStore } from '../src/store/memory-store.js'
import type { Store } from '../src/store/store.js'
import type { Extent } from './workspace.js'

export async function openInMemory(
  store: Store,
  parts: Pick<RepositoryParts, 'joinLimits' | 'segmentExtents'> = {},
): Promise<Repository> {
  return Repository.open({
    store,
    crew: new InlineCrew(),
    openIndex: async () => new MemoryIndex(),
    ...parts,
  })
}

function sourceOf(bytes: Buffer): DiskSource {
  return {
    name: 'a buffer',
    sizeBytes: bytes.length,
    read: async (into, offset) => into.set(bytes.subarray(offset, offset + into.length)),
    checkUnchanged: async () => undefined,
    close: async () => undefined,
  }
}

/** Takes a point of one disk, `vda`. @returns its id */
export async function backUpBytes(
  repository: Repository,
  machine: string,
  bytes: Buffer,
  options: { readonly feed?: readonly Extent[]; readonly chunker?: 'fixed' | 'cdc' } = {},
): Promise<string> {
  const { feed, chunker } = options
  const changed = feed && ByteExtents.from(feed.map(([offset, length]) => ({ offset, length })))
  const disk: DiskBackup = { id: 'vda', source: sourceOf(bytes), changed, ...(chunker && { chunker }) }
  return (await backUp(repository, { machine, disks: [disk] })).point
}

/** Restores a point's `vda`. What is not written stays as it is not in any disk: a gap cannot pass for zeros. */
export async function restoreBytes(repository: Repository, machine: string, point: string): Promise<Buffer> {
  const { state } = await repository.chains.get(machine)
  const plan = await planDisk(repository, state, findPoint(state, point).index, 'vda')
  const bytes = Buffer.alloc(plan.sizeBytes, 'a gap')
  const target = {
    write: async (part: Uint8Array, offset: number) => bytes.set(part, offset),
    zeros: async (offset: number, length: number) => void bytes.fill(0, offset, offset + length),
  }
  try {
    await restoreDisk(repository, plan, target, () => undefined)
  } finally {
    plan.pins.end()
  }
  return bytes
}

/** All objects of a store, to be changed and put into a new one. */
export async function objectsOf(store: Store): Promise<Map<string, Uint8Array>> {
  const objects = new Map<string, Uint8Array>()
  for await (const { key } of store.list('')) objects.set(key, await store.readAll(key))
  return objects
}

export async function storeOf(objects: ReadonlyMap<string, Uint8Array>): Promise<MemoryStore> {
  const store = new MemoryStore()
  for (const [key, bytes] of objects) await store.put(key, [bytes])
  return store
}
