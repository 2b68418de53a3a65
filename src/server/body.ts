import type { IncomingMessage } from 'node:http'
import { EverfoldError } from '../errors.js'

/** Bytes of a request's body in JSON, where the configuration does not say it: all that the API takes is small. */
export const BODY_BYTES_MAX = 64 * 1024

/** Milliseconds that it may take to arrive. */
const BODY_TIMEOUT_MS = 30_000

/**
 * The body of a request as JSON; undefined where there is none.
 * @param wanted    Does the route take one?
 * @param bytesMax  that it may have
 * @throws ARGUMENT_INVALID, BODY_TOO_LARGE, MEDIA_TYPE_UNSUPPORTED, REQUEST_TIMEOUT
 */
export async function readBody(
  request: IncomingMessage,
  wanted: boolean,
  bytesMax: number,
): Promise<unknown> {
  const { headers } = request
  if (!hasBody(request)) {
    if (!wanted) return undefined
    throw new EverfoldError('ARGUMENT_INVALID', 'This needs a body: a JSON object.')
  }
  if (!wanted) throw new EverfoldError('ARGUMENT_INVALID', 'This takes no body.')
  const [type = ''] = (headers['content-type'] ?? '').split(';')
  if (type.trim().toLowerCase() !== 'application/json' || headers['content-encoding'] !== undefined)
    throw new EverfoldError(
      'MEDIA_TYPE_UNSUPPORTED',
      'The body has to be plain JSON, with Content-Type: application/json.',
    )
  if (Number(headers['content-length'] ?? 0) > bytesMax) throw tooLarge(bytesMax)
  return parseJson(await inTime(collect(request, bytesMax)))
}

export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  let limit: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_resolve, reject) => {
    limit = setTimeout(
      () => reject(new EverfoldError('REQUEST_TIMEOUT', 'The request took too long to arrive.')),
      BODY_TIMEOUT_MS,
    )
  })
  try {
    return await Promise.race([work, timeout])
  } finally {
    clearTimeout(limit)
    work.catch(() => undefined)
  }
}

async function collect(request: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const parts: Buffer[] = []
  let total = 0
  // A request that is given up halfway is answered all the same: its connection must stay.
  for await (const part of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    total += part.length
    if (total > bytesMax) throw tooLarge(bytesMax)
    parts.push(part)
  }
  return Buffer.concat(parts)
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    throw new EverfoldError('ARGUMENT_INVALID', 'The body is not JSON in UTF-8.', { cause: error })
  }
}

export function tooLarge(bytesMax: number): EverfoldError {
  return new EverfoldError('BODY_TOO_LARGE', `A body may have ${bytesMax} bytes at most.`)
}
