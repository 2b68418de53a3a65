import type { Session } from '../chain/session/session.js'
import type { Upload, UploadResult } from '../chain/session/upload.js'
import { EverfoldError, isEverfoldError } from '../errors.js'
import { untilClosed } from './limits/places.js'
import type { Call } from './route.js'
import type { Service } from './service.js'
import { bodyOf } from './upload-body.js'

/** What of a call says how its body is to be taken. */
export type UploadCall = Pick<Call<unknown, unknown, unknown>, 'request' | 'response' | 'token' | 'pace'>

/**
 * Hands a body to an upload. What had come of one that breaks off is kept: the client goes on from there.
 * @returns what came, once it is durable
 */
export async function receive(
  { sessions, limits, quotas }: Service,
  session: Session,
  disk: number,
  { request, response, token, pace }: UploadCall,
  feed: (upload: Upload, body: AsyncIterable<Uint8Array>) => Promise<void>,
): Promise<UploadResult> {
  const { machine } = session.begin
  if (token === undefined) throw new Error('an upload is of a token')
  untilClosed(response, limits.take('uploads', token))
  await quotas.check(machine, sessions.broughtBytes(machine))
  const body = bodyOf(request, limits.bodyMax('upload', token), pace, sessions.parking)
  const admitted = await sessions.upload(session, disk)
  try {
    await feed(admitted.upload, body)
  } catch (error) {
    const brokeOff = isEverfoldError(error, 'CANCELLED', 'SERVICE_STOPPING', 'REQUEST_TIMEOUT')
    // Nobody is told whether that worked: the client asks what has arrived.
    await (brokeOff ? admitted.finish() : admitted.abandon()).catch(() => undefined)
    throw admitted.upload.hasRecorded ? asRecorded(error) : error
  }
  return admitted.finish()
}

/** Part of what was damaged on its way may have been taken for what it was not: sending it again does not put that right. */
function asRecorded(error: unknown): unknown {
  if (!isEverfoldError(error, 'STREAM_INVALID', 'HASH_MISMATCH')) return error
  return new EverfoldError(error.code, error.message, {
    cause: error,
    details: { ...error.details, recorded: true },
  })
}
