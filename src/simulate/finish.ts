import { account } from '../merge/account.js'
import { deleteMachine } from '../merge/fold.js'
import { collectGarbage } from '../merge/gc.js'
import { verifyRepository } from '../restore/verify.js'
import { repositoryKey } from '../store/keys.js'
import { SimulationFailure } from './failure.js'
import { compareAll } from './life.js'
import { checkUploads } from './upload-session.js'
import type { World } from './world.js'

/** Rounds of garbage collection after which nothing may be left. */
const ROUNDS = 6

/** Calls after which whatever was left under way by failures has ended. */
const CALLS_TO_END = 300

/** What was begun and never ended would keep garbage for ever. */
async function checkNothingPinned(world: World): Promise<void> {
  const { pins, store } = await world.open()
  await world.endSessions()
  await world.endRestores()
  for (let i = 0; i < CALLS_TO_END && pins.anyOpenUpTo(pins.newest); i++) await store.size(repositoryKey)
  if (pins.anyOpenUpTo(pins.newest))
    throw new SimulationFailure('nothing is under way, and something is still pinned')
  if (world.files.unclosed > 0)
    throw new SimulationFailure(`nothing is under way, and ${world.files.unclosed} files are still open`)
}

/** What must be gone; of sessions that were committed it stays known for a day that they were. */
const LEFT = /\/(?:packs|bundles|runs|tmp)\/|\/sessions\/.*(?<!\/done)$/

/** The clients give up what they did not commit. */
async function dropSessions(world: World): Promise<void> {
  if (!world.life.service) return
  const service = await world.openService()
  await checkUploads(world, service)
  await service.recover()
  for (const { session } of await service.sessions.list()) await service.sessions.drop(session)
  await service.sessions.close()
}

/** The end of a life: all points are compared, then everything is deleted, and nothing may be left in the store. */
export async function finish(world: World): Promise<void> {
  await world.quietly(async () => {
    await checkNothingPinned(world)
    await world.reopen()
    await compareAll(world)
    if (world.isRotten) return
    const repository = await world.open()
    const verified = await verifyRepository(repository, { sample: 1 })
    if (!verified.ok) throw new SimulationFailure(`verify at the end: ${JSON.stringify(verified)}`)
    await dropSessions(world)
    for (const machine of await repository.chains.machines()) await deleteMachine(repository, machine)
    for (let round = 0; round < ROUNDS; round++)
      await collectGarbage(repository, { deadShareMax: 0, graceRounds: 1 })
    // What was given up and could not be removed goes when a process starts.
    await world.reopen()
    const left = world.files.files().filter((path) => LEFT.test(path))
    if (left.length > 0) throw new SimulationFailure(`garbage is left: ${left.join()}`)
    const { storedBytes } = await account(repository)
    if (storedBytes !== 0)
      throw new SimulationFailure(`the account says ${storedBytes} bytes of an empty store`)
  })
}
