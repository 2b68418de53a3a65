import { Sha256, sha256Hex } from './checksum.js'

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

const CLOSING_BRACE = Buffer.from('}')
const TRAILER_LENGTH = `,"sha256":"${'0'.repeat(64)}"}`.length

/** @returns the payload, or undefined unless these are bytes that {@link sealJson} made, to the last bit. */
export function openSealedJson(bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  if (bytes.length < TRAILER_LENGTH + 1) return undefined
  const end = bytes.length - TRAILER_LENGTH
  // Of the bytes, not of the text that they decode to: different bytes may decode to the same characters.
  const checksum = new Sha256().update(bytes.subarray(0, end)).update(CLOSING_BRACE).digestHex()
  if (Buffer.from(bytes.subarray(end)).toString('latin1') !== `,"sha256":"${checksum}"}`) return undefined
  const text = `${Buffer.from(bytes.subarray(0, end)).toString()}}`
  try {
    const payload: unknown = JSON.parse(text)
    if (typeof payload !== 'object' || payload === null || JSON.stringify(payload) !== text) return undefined
    return payload as Record<string, unknown>
  } catch {
    return undefined
  }
}
