import { backUp } from '../chain/backup.js'
import { lackingOf } from '../chain/session/offers.js'
import { isOpen } from '../chain/session/sessions.js'
import { deleteMachine } from '../merge/fold.js'
import { collectGarbage } from '../merge/gc.js'
import { sourceOf } from './disk.js'
import { SimulationFailure } from './failure.js'
import { ModelMachine } from './model.js'
import { beginRestore, finishRestore } from './restores.js'
import { hashOf, named } from './send.js'
import { type Span, UploadedDisk } from './upload-client.js'
import type { UploadTask } from './upload-session.js'

const CHUNK_BYTES = 4096
const CHUNKS_MAX = 12
/** Rounds after which what nobody needs is removed. */
const ROUNDS = 3

/**
 * A drill: a session is offered chunks that one machine alone has, that machine goes, garbage is collected, and only then the session
 * sends them: by name what it was told is there. Or the machine goes first, and what is offered is condemned already. The machines are the
 * drill's own.
 */
export async function offerDrill({ world, service, random, say }: UploadTask): Promise<void> {
  const { repository, sessions } = service
  const bytes = random.bytes(CHUNK_BYTES * random.between(1, CHUNKS_MAX))
  const [gone, stays] = ['goes', 'stays'].map((what) => new ModelMachine(`drill ${world.drills++} ${what}`))
  if (gone === undefined || stays === undefined) return
  const isCondemned = random.chance(0.5)
  say(`drill: ${gone.name}${isCondemned ? ' before it is offered' : ''}, ${stays.name}`)
  const source = sourceOf(bytes)
  const backup = { id: 'd0', chunker: 'fixed' as const, source, changed: undefined }
  await backUp(repository, { machine: gone.name, disks: [backup] })
  const disk = new UploadedDisk('d0', 'fixed', bytes, undefined)
  const chunks = Array.from({ length: bytes.length / CHUNK_BYTES }, (_, i): Span => {
    return { start: i * CHUNK_BYTES, end: (i + 1) * CHUNK_BYTES }
  })
  const request = {
    machine: stays.name,
    disks: [{ id: 'd0', sizeBytes: bytes.length, chunker: 'fixed' as const }],
  }
  const { session } = await sessions.create('drill', request, service.limit)
  if (!isOpen(session)) throw new SimulationFailure(`${stays.name}: a new session was committed already`)

  if (isCondemned) {
    await deleteMachine(repository, gone.name)
    await collectGarbage(repository, { deadShareMax: 0, graceRounds: 1 })
  }
  const hashes = Buffer.concat(chunks.map((chunk) => hashOf(disk, chunk)))
  const lacking = await lackingOf(repository, session, hashes)
  if (!isCondemned) {
    if (lacking.some((bits) => bits !== 0))
      throw new SimulationFailure(`${stays.name}: chunks of a point were said to be lacking`)
    await deleteMachine(repository, gone.name)
  }
  for (let round = 0; round < ROUNDS; round++)
    await collectGarbage(repository, { deadShareMax: 0, graceRounds: 0 })

  const isThere = (i: number): boolean => (((lacking[i >> 3] ?? 0) >> (i & 7)) & 1) === 0
  const admitted = await sessions.upload(session, 0)
  for (const [i, chunk] of chunks.entries())
    try {
      if (isThere(i)) await admitted.upload.known(named(disk, [chunk]))
      else await admitted.upload.data(chunk.start, disk.bytes.subarray(chunk.start, chunk.end))
    } catch (error) {
      await admitted.abandon()
      throw new SimulationFailure(`${stays.name}: what was said to be there is gone: ${String(error)}`, error)
    }
  await admitted.finish()
  const { result } = await sessions.commit(session)
  stays.promise(result.point, new Map([['d0', bytes]]))
  const { state } = await repository.chains.get(stays.name)
  await finishRestore(repository, await beginRestore(repository, stays, state, 0))
  await deleteMachine(repository, stays.name)
}
