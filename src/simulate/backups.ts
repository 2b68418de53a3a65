import { backUp, type DiskBackup } from '../chain/backup.js'
import type { Repository } from '../chain/repository.js'
import { EverfoldError } from '../errors.js'
import { ByteExtents, clip, normalise } from '../feed/byte-extents.js'
import { SimulatedDisk, sourceOf } from './disk.js'
import type { ModelMachine, Uncertain } from './model.js'
import type { Random } from './random.js'
import { Counts, type World } from './world.js'

const DISKS_MAX = 3

/**
 * The owner writes to a machine's disks, adds some, loses some, and takes a point, with feeds where that is possible.
 * @param gate  The ends of disks are read only after this.
 */
export async function backUpMachine(
  world: World,
  repository: Repository,
  random: Random,
  alone: boolean,
  say: (what: string) => void,
  machine = random.pick(world.machines),
  gate?: Promise<void>,
): Promise<void> {
  if (machine.feedUnderWay) return
  const disks = live(machine, world, random)
  const requests = disks.map((disk) => requestFor(disk, random, machine.backupsUnderWay === 0, gate))
  if (++machine.backupsUnderWay > 1) machine.backupsOverlap = true
  machine.feedUnderWay = requests.some((request) => request.changed !== undefined)
  const content = new Map(disks.map((disk) => [disk.id, disk.bytes]))
  const told = new Map(disks.map((disk) => [disk, new Set(disk.writes)]))
  const uncertain: Uncertain = { kind: 'backup', content }
  machine.uncertain.add(uncertain)
  say(
    `${machine.name} ${requests.map((one) => `${one.id}:${one.changed === undefined ? 'all' : 'feed'}`).join()}`,
  )
  try {
    const { point } = await backUp(repository, { machine: machine.name, disks: requests })
    say(
      `${machine.name} ${requests.map((one) => `${one.id}:${one.changed === undefined ? 'all' : 'feed'}`).join()} → ${point}`,
    )
    machine.uncertain.delete(uncertain)
    machine.promise(point, content)
    for (const disk of machine.disks) {
      const tellings = told.get(disk)
      disk.inLastPoint = tellings !== undefined && !machine.backupsOverlap
      disk.writes = disk.writes.filter((write) => tellings?.has(write) !== true)
    }
  } catch (error) {
    if (!(error instanceof EverfoldError)) throw error
    // What failed in the store may have had its effect all the same.
    if (error.code !== 'STORE_FAILED' && error.code !== 'STORE_FULL') machine.uncertain.delete(uncertain)
    else machine.feedMayLackBase = true
    if (error.code !== 'FEED_WITHOUT_BASE' && error.code !== 'FEED_BASE_UNSURE') throw error
    // The point that the owner knows of is gone: the next one reads everything.
    Counts.increase(world.counts.refusals, `backup ${error.code}`)
    if (alone && !machine.feedMayLackBase) throw error
    for (const disk of machine.disks) disk.inLastPoint = false
  } finally {
    if (--machine.backupsUnderWay === 0) machine.backupsOverlap = false
    machine.feedUnderWay = false
  }
}

/** The owner writes to the disks, adds some, loses some. @returns those that the next point is of */
export function live(machine: ModelMachine, world: World, random: Random): SimulatedDisk[] {
  if (machine.disks.length === 0 || (machine.disks.length < DISKS_MAX && random.chance(0.08)))
    machine.disks.push(new SimulatedDisk(`d${machine.disksEver++}`, random))
  if (machine.disks.length > 1 && random.chance(0.05))
    machine.disks.splice(random.below(machine.disks.length), 1)
  const everywhere = world.machines.flatMap((one) => one.disks)
  for (let i = random.below(5); i > 0; i--) random.pick(machine.disks).change(random, everywhere)
  return machine.disks.filter((disk) => disk.id === machine.disks[0]?.id || random.chance(0.9))
}

function requestFor(
  disk: SimulatedDisk,
  random: Random,
  mayFeed: boolean,
  gate: Promise<void> | undefined,
): DiskBackup {
  const feed = mayFeed && disk.inLastPoint && random.chance(0.7)
  return {
    id: disk.id,
    chunker: disk.chunker,
    source: sourceOf(disk.bytes, gate),
    changed: feed ? normalise(clip(ByteExtents.from(disk.writes), disk.bytes.length)) : undefined,
  }
}
