/**
 * Names of machines and disks: anything that a person would type, as long as it is one line, looks the same to
 * everyone who reads it, and fits into a path component of every store.
 */

import assert from 'node:assert/strict'
import { EverfoldError } from './errors.js'

/** Bytes of the percent-encoded form. File systems take 255 in a path component; the rest is for suffixes. */
export const ENCODED_NAME_BYTES_MAX = 200

type NameKind = 'machine' | 'disk'

/** Control, format, private and unassigned characters, and the two separators that break lines. */
const INVISIBLE = /[\p{C}\p{Zl}\p{Zp}]/u

/** Half of a surrogate pair: no character at all. */
const LONE_SURROGATE = /\p{Cs}/u

/**
 * Checks a name that somebody gave.
 *
 * @returns the name in Unicode normal form C, so that a name typed on one system finds what another one stored.
 * @throws NAME_INVALID, with a sentence that says which rule is broken and what to do.
 */
export function checkName(kind: NameKind, name: string): string {
  const complaint = complaintAbout(kind, name)
  if (complaint === undefined) return name.normalize('NFC')
  const shown = name.length > 80 ? `${name.slice(0, 80)}…` : name
  throw new EverfoldError('NAME_INVALID', `The ${kind} name ${JSON.stringify(shown)} ${complaint}`, {
    details: { kind, name: shown },
  })
}

/** Characters of a note. */
export const NOTE_LENGTH_MAX = 1000

/** @throws ARGUMENT_INVALID unless it is one line that a terminal shows as it is. */
export function checkNote(note: string): string {
  if (note.length <= NOTE_LENGTH_MAX && !/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u.test(note)) return note
  throw new EverfoldError(
    'ARGUMENT_INVALID',
    `A note is one line of at most ${NOTE_LENGTH_MAX} characters, without control characters: shorten or clean it.`,
  )
}

function complaintAbout(kind: NameKind, given: string): string | undefined {
  if (given === '') return 'is empty: give it at least one character.'
  if (LONE_SURROGATE.test(given)) return 'is not valid Unicode (half of a surrogate pair): type it again.'
  const name = given.normalize('NFC')
  if (name !== name.trim()) return 'starts or ends with white space: remove it.'
  if (INVISIBLE.test(name)) return 'has an invisible or control character in it: remove it.'
  if (/[/\\]/u.test(name)) return 'has a slash or backslash in it: use a dash instead.'
  if (name.startsWith('.') || name.endsWith('.')) return 'starts or ends with a dot: remove the dot.'
  if (name.includes('..')) return 'has two dots in a row: use one.'
  if (kind === 'disk' && name.includes('='))
    return "has '=' in it, which separates disk from path: use a dash instead."
  const bytes = encode(name).length
  if (bytes > ENCODED_NAME_BYTES_MAX) {
    return (
      `takes ${bytes} bytes in a key, and ${ENCODED_NAME_BYTES_MAX} is the limit: shorten it ` +
      '(an ASCII letter or digit takes 1 byte, an accented letter 6, a CJK character 9).'
    )
  }
  return undefined
}

/**
 * A checked name as one path component of a store key: UTF-8, with everything but `A-Z a-z 0-9 . _ -`
 * percent-encoded in upper-case hex. Different names have different encodings.
 *
 * @throws AssertionError if `checkName` would have refused the name for its form.
 */
export function encodeName(name: string): string {
  assert(!LONE_SURROGATE.test(name), 'names are checked before they are encoded')
  const encoded = encode(name)
  assert(isSafeComponent(encoded), 'names are checked before they are encoded')
  return encoded
}

/**
 * The name behind a path component, or undefined if `encodeName` could not have made it. This looks at the form
 * alone: what counts as an assigned character changes with the version of Unicode, and a machine must not vanish
 * from listings because another Node.js wrote its key.
 */
export function decodeName(encoded: string): string | undefined {
  if (!isSafeComponent(encoded)) return undefined
  try {
    const name = decodeURIComponent(encoded)
    return encode(name) === encoded ? name : undefined
  } catch {
    return undefined // not UTF-8
  }
}

function encode(name: string): string {
  // encodeURIComponent leaves these alone as well.
  return encodeURIComponent(name).replace(
    /[!'()*~]/gu,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

function isSafeComponent(encoded: string): boolean {
  return (
    encoded.length <= ENCODED_NAME_BYTES_MAX &&
    /^(?:[A-Za-z0-9._-]|%[0-9A-F]{2})+$/u.test(encoded) &&
    !/^\.|\.\.|\.$/u.test(encoded)
  )
}
