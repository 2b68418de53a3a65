/** Crockford's base 32: no letters that are mistaken for digits, so that ids can be read aloud and typed. */
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'

/** Characters of a recovery point's id. */
export const POINT_ID_LENGTH = 8

/** A short id from random bytes (5 bits a character); the first is a letter, so that it never looks like a time. */
export function pointIdFrom(random: Uint8Array): string {
  let id = ALPHABET[10 + ((random[0] ?? 0) % 22)] ?? ''
  for (let i = 1; i < POINT_ID_LENGTH; i++) id += ALPHABET[(random[i] ?? 0) % 32] ?? ''
  return id
}

/** Characters of a session's id: nobody guesses one. */
export const SESSION_ID_LENGTH = 26

/** From at least as many random bytes as it has characters; 5 bits of each. */
export function sessionIdFrom(random: Uint8Array): string {
  let id = ''
  for (let i = 0; i < SESSION_ID_LENGTH; i++) id += ALPHABET[(random[i] ?? 0) % 32] ?? ''
  return id
}
