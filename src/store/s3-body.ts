import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import { copyParts } from '../parts.js'

/** A body that is not what its headers promised: to be read again. */
export class BodyCut extends Error {
  override readonly name = 'BodyCut'
}

/**
 * Reads a body to its end.
 * @param lengthBytes  as its headers promise
 * @param idleMs  the longest time in which nothing comes
 * @returns bytes that own their whole ArrayBuffer
 * @throws BodyCut, and what the stream throws
 */
export async function collectBody(
  body: Readable,
  lengthBytes: number,
  idleMs: number,
  signal: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(lengthBytes)
  let filled = 0
  const stop = (): void => {
    body.destroy(new BodyCut('no more bytes came in time'))
  }
  const timer = setTimeout(stop, idleMs)
  signal.addEventListener('abort', stop, { once: true })
  try {
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      timer.refresh()
      if (filled + chunk.length > lengthBytes) throw new BodyCut('the body is longer than it should be')
      bytes.set(chunk, filled)
      filled += chunk.length
    }
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', stop)
    body.destroy()
  }
  if (filled < lengthBytes) throw new BodyCut(`the body ended after ${filled} of ${lengthBytes} bytes`)
  return bytes
}

/** `Content-Range: bytes 0-99/1000`; undefined where the service sent everything. */
export function parseContentRange(
  text: string | undefined,
): { readonly start: number; readonly end: number; readonly sizeBytes: number } | undefined {
  const [, start, end, size] = /^bytes (\d+)-(\d+)\/(\d+)$/u.exec(text ?? '') ?? []
  if (start === undefined || end === undefined || size === undefined) return undefined
  return { start: Number(start), end: Number(end) + 1, sizeBytes: Number(size) }
}

/** For Content-MD5, which every service checks before it keeps the body. */
export function md5Of(bytes: Uint8Array): string {
  return createHash('md5').update(bytes).digest('base64')
}

/** Bytes `from` to `to` of `parts`, one after the other: a view if they lie in one part, else a copy. */
export function gather(parts: readonly Uint8Array[], from: number, to: number): Uint8Array {
  let start = 0
  for (const part of parts) {
    if (from >= start && to <= start + part.length) return part.subarray(from - start, to - start)
    start += part.length
  }
  const joined = new Uint8Array(to - from)
  copyParts(parts, from, joined)
  return joined
}
