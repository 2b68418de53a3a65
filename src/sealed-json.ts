import { sha256Hex } from './checksum.js'

/*
 * Small structures that people may want to read are stored as JSON with a checksum: the object's text as JSON.stringify
 * writes it, with a last member "sha256" over the text without that member.
 */

/** @returns the bytes to store. */
export function sealJson(payload: Readonly<Record<string, unknown>>): Uint8Array {
  const text = JSON.stringify(payload)
  const checksum = sha256Hex(Buffer.from(text))
  return Buffer.from(`${text.slice(0, -1)},"sha256":"${checksum}"}`)
}

const TRAILER_LENGTH = `,"sha256":"${'0'.repeat(64)}"}`.length

/** @returns the payload, or undefined unless these are bytes that {@link sealJson} made, to the last bit. */
export function openSealedJson(bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  if (bytes.length < TRAILER_LENGTH + 1) return undefined
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length - TRAILER_LENGTH).toString() + '}'
  const trailer = Buffer.from(bytes.buffer, bytes.byteOffset + bytes.length - TRAILER_LENGTH).toString(
    'latin1',
  )
  if (trailer.slice(0, TRAILER_LENGTH) !== `,"sha256":"${sha256Hex(Buffer.from(text))}"}`) return undefined
  try {
    const payload: unknown = JSON.parse(text)
    return typeof payload === 'object' && payload !== null ? (payload as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
