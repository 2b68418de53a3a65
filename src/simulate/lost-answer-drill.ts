import type { ByteRange } from '../byte-range.js'
import { rangesOf } from '../chain/session/session.js'
import { isOpen } from '../chain/session/sessions.js'
import { isEverfoldError } from '../errors.js'
import { deleteMachine } from '../merge/fold.js'
import { parseChainKey, parseSessionKey } from '../store/keys.js'
import { SimulationFailure } from './failure.js'
import { ModelMachine } from './model.js'
import { beginRestore, finishRestore } from './restores.js'
import type { UploadTask } from './upload-session.js'
import type { World } from './world.js'

const HALF_BYTES_MAX = 20_000

/** Does what is to fail because the answer to one request gets lost, which has its effect. */
async function losingAnswer(
  world: World,
  isMeant: (key: string) => boolean,
  act: () => Promise<unknown>,
): Promise<void> {
  let isLost = false
  world.drillFault = (operation, key) => {
    if (isLost || operation !== 'put' || !isMeant(key)) return undefined
    isLost = true
    return { kind: 'error-after' }
  }
  try {
    await act()
  } catch (error) {
    if (isEverfoldError(error, 'STORE_FAILED')) return
    throw error
  } finally {
    world.drillFault = () => undefined
  }
  throw new SimulationFailure('something was acknowledged although the store did not say that it is there')
}

/**
 * A drill: half of a disk comes, and the store does not answer that the part is there, which it is. The other half comes, is acknowledged,
 * and has to be there when the session is read from the store. Then the answer to its commit is lost, and it is committed again: it is one
 * point. The machine is the drill's own.
 */
export async function lostAnswerDrill({ world, service, random, say }: UploadTask): Promise<void> {
  const { repository, sessions } = service
  const machine = new ModelMachine(`drill ${world.drills++}`)
  const half = random.between(1, HALF_BYTES_MAX)
  const bytes = random.bytes(2 * half)
  say(`drill: ${machine.name}`)
  const request = {
    machine: machine.name,
    disks: [{ id: 'd0', sizeBytes: bytes.length, chunker: random.pick(['fixed', 'cdc'] as const) }],
  }
  const { session } = await sessions.create('drill', request, service.limit)
  if (!isOpen(session)) throw new SimulationFailure(`${machine.name}: a new session was committed already`)
  const send = async ({ offset, length }: ByteRange): Promise<void> => {
    const admitted = await sessions.upload(session, 0)
    await admitted.upload.data(offset, bytes.subarray(offset, offset + length))
    await admitted.finish()
  }
  const isOurs = (key: string, kind: 'part' | 'done'): boolean => {
    const parsed = parseSessionKey(key)
    return parsed?.id === session.id && parsed.kind === kind
  }
  await losingAnswer(
    world,
    (key) => isOurs(key, 'part'),
    () => send({ offset: 0, length: half }),
  )
  await send({ offset: half, length: half })
  session.shed()
  const [arrived] = await sessions.arrived(session)
  const there = arrived === undefined ? [] : [...rangesOf(arrived)]
  if (!there.some(({ offset, length }) => offset <= half && offset + length >= 2 * half))
    throw new SimulationFailure(
      `${machine.name}: what came after a lost answer was acknowledged, and is lost`,
    )
  await send({ offset: 0, length: half })
  const isPoint = (key: string): boolean => {
    const parsed = parseChainKey(key)
    return parsed?.machine === machine.name && parsed.sequence > 0
  }
  await losingAnswer(world, half % 2 === 0 ? isPoint : (key) => isOurs(key, 'done'), () =>
    sessions.commit(session),
  )
  const { result } = await sessions.commit(session)
  machine.promise(result.point, new Map([['d0', bytes]]))
  const { state } = await repository.chains.get(machine.name)
  if (state.points.length !== 1) throw new SimulationFailure(`${machine.name}: one session became two points`)
  await finishRestore(repository, await beginRestore(repository, machine, state, 0))
  await deleteMachine(repository, machine.name)
}
