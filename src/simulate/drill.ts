import { backUp } from '../chain/backup.js'
import type { Repository } from '../chain/repository.js'
import { isEverfoldError } from '../errors.js'
import { healDamage } from '../merge/heal.js'
import { verifyRepository } from '../restore/verify.js'
import { packsPrefix, parsePackKey } from '../store/keys.js'
import { SimulatedDisk, sourceOf } from './disk.js'
import { SimulationFailure } from './failure.js'
import { ModelMachine } from './model.js'
import type { Random } from './random.js'
import { beginRestore, finishRestore } from './restores.js'
import type { World } from './world.js'

/**
 * A drill in a world where bits rot: a machine is backed up, a pack rots, verification finds it, and a backup that reads everything
 * again makes both points whole; only the newer one, if the pack's directory rotted: it says what the older one refers to. The machine
 * is the drill's own.
 */
export async function drill(
  world: World,
  repository: Repository,
  random: Random,
  say: (what: string) => void,
): Promise<void> {
  const machine = new ModelMachine(`drill ${world.drills++}`)
  world.drilled.push(machine)
  const disk = new SimulatedDisk('d0', random)
  for (let i = 0; i < 4; i++) disk.change(random, [disk])
  const takePoint = async (): Promise<number> => {
    const request = { id: disk.id, chunker: disk.chunker, source: sourceOf(disk.bytes), changed: undefined }
    const { point, newBytes } = await backUp(repository, { machine: machine.name, disks: [request] })
    machine.promise(point, new Map([[disk.id, disk.bytes]]))
    return newBytes
  }
  // What rotted before is known, so that the first point does not refer to it.
  await verifyRepository(repository, { sample: 1 })
  await takePoint()
  await expectWhole(repository, machine)
  const packs = world.files.files().filter((path) => /\/(?:packs|bundles)\//.test(path))
  if (packs.length === 0) return
  const path = random.pick(packs)
  const bit = random.below(2 ** 31)
  say(`rot in ${path} bit ${bit}`)
  world.files.rot(path, bit)
  world.came('rot')
  world.isRotten = true
  await verifyRepository(repository, { sample: 1 })
  const { damaged } = repository.catalog.quarantine.state
  const areChunksKnown = damaged.some(({ key }) => path.endsWith(`/${key}`))
  await takePoint()
  await healDamage(repository)
  forgetPacks(world, repository)
  await expectWhole(repository, machine, areChunksKnown ? 0 : 1)
  const again = await takePoint()
  if (again > 0)
    throw new SimulationFailure(`${machine.name} is whole, and ${again} bytes were stored once more`)
}

/** A later process does not know which generation of a pack was written last, or read. */
function forgetPacks(world: World, repository: Repository): void {
  for (const path of world.files.files()) {
    const pack = parsePackKey(path.slice(path.indexOf(packsPrefix)))
    if (pack !== undefined) repository.catalog.forget(pack.packId)
  }
}

/** @param from  The first point that has to be whole. */
async function expectWhole(repository: Repository, machine: ModelMachine, from = 0): Promise<void> {
  const { state } = await repository.chains.get(machine.name)
  for (const [index, point] of state.points.entries()) {
    if (index < from) continue
    try {
      await finishRestore(repository, await beginRestore(repository, machine, state, index))
    } catch (error) {
      if (!isEverfoldError(error)) throw error
      throw new SimulationFailure(
        `point ${point.id} (${index}) of ${machine.name} did not heal: ${error.message}`,
        error,
      )
    }
  }
}
