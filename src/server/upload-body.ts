import type { IncomingMessage } from 'node:http'
import { stopping } from '../chain/session/sessions.js'
import { EverfoldError, isEverfoldError } from '../errors.js'
import type { Pace } from './limits/pace.js'

/** How long an upload may go without a byte. */
const UPLOAD_STALL_MS = 60_000

/** Is it a body of this type, as it is? @throws MEDIA_TYPE_UNSUPPORTED */
export function checkUploadType({ headers }: IncomingMessage, wanted: string, mayBeAbsent: boolean): void {
  const [type = ''] = (headers['content-type'] ?? '').split(';')
  const fits = type.trim().toLowerCase() === wanted || (mayBeAbsent && type === '')
  if (fits && headers['content-encoding'] === undefined) return
  throw new EverfoldError(
    'MEDIA_TYPE_UNSUPPORTED',
    `The body has to be ${wanted}, without a Content-Encoding.`,
  )
}

/** Bytes of a body, as its header says; undefined if it does not. @throws BODY_TOO_LARGE */
export function lengthOf({ headers }: IncomingMessage): number | undefined {
  const text = headers['content-length']
  if (text === undefined) return headers['transfer-encoding'] === undefined ? 0 : undefined
  const length = Number(text)
  if (Number.isSafeInteger(length)) return length
  throw new EverfoldError('BODY_TOO_LARGE', 'No disk has as many bytes as Content-Length says.')
}

/**
 * The body of an upload, piece by piece as it comes and at its pace; nothing is read ahead of whoever asks for the next one.
 * @param bytesMax  that it may have
 * @param parking   once it is aborted, SERVICE_STOPPING is thrown instead of the next piece
 * @throws BODY_TOO_LARGE, REQUEST_TIMEOUT if nothing comes for a minute, CANCELLED when the connection breaks
 */
export async function* bodyOf(
  request: IncomingMessage,
  bytesMax: number,
  pace: Pace,
  parking: AbortSignal,
): AsyncGenerator<Buffer> {
  if ((lengthOf(request) ?? 0) > bytesMax) throw tooLarge(bytesMax)
  let total = 0
  const body = request.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>
  for (;;) {
    const next = await soon(body.next(), parking).catch(asBroken)
    if (next.done === true) return
    total += next.value.length
    if (total > bytesMax) throw tooLarge(bytesMax)
    yield next.value
    await pace.in(next.value.length)
  }
}

function tooLarge(bytesMax: number): EverfoldError {
  return new EverfoldError(
    'BODY_TOO_LARGE',
    `An upload may have ${bytesMax} bytes in one request: send it in several.`,
  )
}

function asBroken(error: unknown): never {
  if (isEverfoldError(error)) throw error
  throw new EverfoldError('CANCELLED', 'The connection broke before all of the body had come.', {
    cause: error,
  })
}

async function soon<T>(next: Promise<T>, parking: AbortSignal): Promise<T> {
  let limit: NodeJS.Timeout | undefined
  let stop = (): void => undefined
  const given = new Promise<never>((_resolve, reject) => {
    stop = () => reject(stopping())
    if (parking.aborted) stop()
    else parking.addEventListener('abort', stop)
    limit = setTimeout(
      () =>
        reject(new EverfoldError('REQUEST_TIMEOUT', 'Nothing came for a minute: the upload was given up.')),
      UPLOAD_STALL_MS,
    )
  })
  try {
    return await Promise.race([next, given])
  } finally {
    clearTimeout(limit)
    parking.removeEventListener('abort', stop)
    // One of them is not listened to any more.
    next.catch(() => undefined)
    given.catch(() => undefined)
  }
}

/** Printable ASCII, no spaces. */
const KEY = /^[\x21-\x7e]{1,128}$/

/** What makes a repeated request the same one; undefined if the client gave nothing. @throws ARGUMENT_INVALID */
export function idempotencyKeyOf({ headers }: IncomingMessage): string | undefined {
  const key = headers['idempotency-key']
  if (key === undefined || (typeof key === 'string' && KEY.test(key))) return key
  throw new EverfoldError('ARGUMENT_INVALID', 'An Idempotency-Key has 1 to 128 visible ASCII characters.')
}
