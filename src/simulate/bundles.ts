import { isEverfoldError } from '../errors.js'
import { rewritePack } from '../merge/rewrite-pack.js'
import { type BundleMember, encodeBundleTail } from '../pack/bundle-format.js'
import { listPacks, type PackPlace } from '../pack/catalog.js'
import { bundleKey, bundlesPrefix } from '../store/keys.js'
import type { Random } from './random.js'
import { Counts, type World } from './world.js'

const MEMBERS_MAX = 6

/**
 * An earlier version is at work for a moment, with nobody beside it: it joins packs, each in a new generation, into a bundle. Their former
 * objects are gone afterwards, or condemned, or still there, as if it had been killed in between.
 */
export async function joinAsBefore(world: World, random: Random): Promise<void> {
  await world.reopen()
  const repository = await world.open()
  const { store, catalog } = repository
  const { quarantine } = catalog
  await quarantine.load(store)
  const parts: Uint8Array[] = []
  const members: BundleMember[] = []
  const former: PackPlace[] = []
  let offset = 0
  for (const place of await loosePacks(world)) {
    if (members.length === MEMBERS_MAX || random.chance(0.3)) continue
    const directory = await catalog.directory(place.packId).catch(unreadable)
    if (directory === undefined || directory.key !== place.key) continue
    const generation =
      Math.max((await catalog.highestGeneration(place.packId)) ?? 0, directory.generation) + 1
    const made = await rewritePack(repository, directory, directory.present, generation).catch(unreadable)
    if (made === undefined) continue
    parts.push(...made.parts)
    members.push({ packId: place.packId, generation, offset, length: made.sizeBytes })
    former.push(place)
    offset += made.sizeBytes
  }
  if (members.length > 0) {
    const tail = encodeBundleTail(members)
    await store.put(bundleKey(tail.id), [...parts, tail.bytes])
    const then = random.pick<'remove' | 'condemn' | 'nothing'>(['remove', 'condemn', 'nothing'])
    if (then === 'remove') for (const { key } of former) await store.remove(key)
    if (then === 'condemn') {
      const { round, condemned } = quarantine.state
      const more = former.map(({ key, packId, generation }) => ({
        key,
        packs: [{ id: packId, generation }],
        round,
      }))
      await quarantine.record(store, { condemned: [...condemned, ...more] })
    }
    world.log(`  bundle ${tail.id.slice(0, 8)} of ${members.length} packs, ${then}`)
    Counts.increase(world.counts.operations, 'bundle')
  }
  await world.reopen()
}

/** Packs that are objects of their own, sound as far as is known, and not on their way out. */
async function loosePacks(world: World): Promise<PackPlace[]> {
  const { store, catalog } = await world.open()
  const { quarantine } = catalog
  const damaged = new Set(quarantine.state.damaged.map(({ pack }) => pack))
  const places: PackPlace[] = []
  for await (const place of listPacks(store))
    if (
      !place.key.startsWith(bundlesPrefix) &&
      !damaged.has(place.packId) &&
      !quarantine.isCondemned(place.packId, place.generation)
    )
      places.push(place)
  return places
}

function unreadable(error: unknown): undefined {
  if (!isEverfoldError(error, 'DATA_DAMAGED', 'OBJECT_NOT_FOUND')) throw error
  return undefined
}
