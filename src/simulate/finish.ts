import { account } from '../merge/account.js'
import { deleteMachine } from '../merge/fold.js'
import { collectGarbage } from '../merge/gc.js'
import { verifyRepository } from '../restore/verify.js'
import { SimulationFailure } from './failure.js'
import { compareAll } from './life.js'
import type { World } from './world.js'

/** Rounds of garbage collection after which nothing may be left. */
const ROUNDS = 6

/** The end of a life: all points are compared, then everything is deleted, and nothing may be left in the store. */
export async function finish(world: World): Promise<void> {
  await world.quietly(async () => {
    await world.reopen()
    await compareAll(world)
    if (world.isRotten) return
    const repository = await world.open()
    const verified = await verifyRepository(repository, { sample: 1 })
    if (!verified.ok) throw new SimulationFailure(`verify at the end: ${JSON.stringify(verified)}`)
    for (const machine of await repository.chains.machines()) await deleteMachine(repository, machine)
    for (let round = 0; round < ROUNDS; round++)
      await collectGarbage(repository, { deadShareMax: 0, graceRounds: 1 })
    const left = world.files.files().filter((path) => /\/(?:packs|bundles|runs)\//.test(path))
    if (left.length > 0) throw new SimulationFailure(`garbage is left: ${left.join()}`)
    const { storedBytes } = await account(repository)
    if (storedBytes !== 0)
      throw new SimulationFailure(`the account says ${storedBytes} bytes of an empty store`)
  })
}
