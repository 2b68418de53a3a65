import { backUp, type DiskBackup } from '../chain/backup.js'
import type { Repository } from '../chain/repository.js'
import { EverfoldError } from '../errors.js'
import { ByteExtents, clip, normalise } from '../feed/byte-extents.js'
import { type Reading, SimulatedDisk, sourceOf } from './disk.js'
import { SimulationFailure } from './failure.js'
import type { ModelMachine, Uncertain } from './model.js'
import { Random } from './random.js'
import { Counts, type World } from './world.js'

const DISKS_MAX = 3
/** Of disks so many shrink while they are read, in lives that know of it. */
const SHRINKING_SHARE = 0.03

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
  const readings = disks.map((disk) => readingOf(world, disk, random, gate))
  const requests = disks.map((disk, i) =>
    requestFor(disk, random, machine.backupsUnderWay === 0, readings[i]),
  )
  const isShrinking = readings.some(({ endsAt }) => endsAt !== undefined)
  if (++machine.backupsUnderWay > 1) machine.backupsOverlap = true
  machine.feedUnderWay = requests.some((request) => request.changed !== undefined)
  const content = new Map(disks.map((disk) => [disk.id, disk.bytes]))
  const told = new Map(disks.map((disk) => [disk, new Set(disk.writes)]))
  const opened = world.disks
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
    if (isShrinking)
      throw new SimulationFailure(`point ${point} was made of a disk that shrank while it was read`)
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
    if (isShrinking && error.code === 'SOURCE_CHANGED') {
      Counts.increase(world.counts.refusals, `backup ${error.code}`)
      return
    }
    if (error.code !== 'FEED_WITHOUT_BASE' && error.code !== 'FEED_BASE_UNSURE') throw error
    // The point that the owner knows of is gone: the next one reads everything.
    Counts.increase(world.counts.refusals, `backup ${error.code}`)
    if (alone && !machine.feedMayLackBase) throw error
    for (const disk of machine.disks) disk.inLastPoint = false
  } finally {
    for (const { descriptor } of readings) if (descriptor !== undefined) opened.close(descriptor)
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

/** In lives that know of it threads read disks, and some shrink meanwhile. */
function readingOf(
  world: World,
  { bytes }: SimulatedDisk,
  random: Random,
  gate: Promise<void> | undefined,
): Reading {
  if (world.life.work === undefined) return { gate }
  const isShrinking = bytes.length > 0 && random.chance(SHRINKING_SHARE)
  const endsAt = isShrinking ? random.below(bytes.length) : undefined
  // Threads would not wait for the gate.
  if (gate !== undefined) return { gate, endsAt }
  const descriptor = world.disks.open(bytes, endsAt ?? bytes.length, new Random(random.seed()))
  return { endsAt, descriptor }
}

function requestFor(
  disk: SimulatedDisk,
  random: Random,
  mayFeed: boolean,
  reading: Reading | undefined,
): DiskBackup {
  const feed = mayFeed && disk.inLastPoint && random.chance(0.7)
  return {
    id: disk.id,
    chunker: disk.chunker,
    source: sourceOf(disk.bytes, reading),
    changed: feed ? normalise(clip(ByteExtents.from(disk.writes), disk.bytes.length)) : undefined,
  }
}
