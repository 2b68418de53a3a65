/**
 * Every key of a store is built, and taken apart, here.
 *
 *   everfold.json                     what the repository is
 *   packs/<2 hex>/<id>.<generation>   <2 hex> are the id's first: folders stay small
 *   runs/<machine>/<id>               <machine> is percent-encoded, see names.ts
 *   chains/<machine>/<sequence>       12 digits, so that names sort as numbers do
 *
 * Parsers give undefined for anything that the builders could not have made. Builders assert: a bad id or
 * number is a bug of ours.
 */

import assert from 'node:assert/strict'
import { decodeName, encodeName } from '../names.js'

/** S3 takes 1024 bytes; the rest is room for a prefix in the bucket. */
export const KEY_BYTES_MAX = 900
/** What file systems take in a path component. */
export const KEY_COMPONENT_BYTES_MAX = 255
/** Chain states of one machine ever written: 12 digits. */
export const SEQUENCE_MAX = 999_999_999_999

/** Folders beside the objects of a local store. They hold no objects, so no key begins with one. */
export const RESERVED_FOLDERS: readonly string[] = ['tmp', 'index', 'lock', 'lost+found']

export const repositoryKey = 'everfold.json'
export const packsPrefix = 'packs/'

const PACK_ID = /^[0-9a-f]{64}$/u
const RUN_ID = /^[0-9a-f]{16,64}$/u

/** @throws AssertionError unless `key` is ASCII of at most 900 bytes, without empty or dot components. */
export function assertKey(key: string): void {
  assert(isKey(key), `not a store key: ${JSON.stringify(key)}`)
}

/** Does `assertKey` accept it? For what is found in a folder or bucket, where anybody may have put things. */
export function isKey(key: string): boolean {
  if (key.length > KEY_BYTES_MAX || !/^[\x21-\x7e]+$/u.test(key) || key.includes('\\')) return false
  const components = key.split('/')
  if (RESERVED_FOLDERS.includes(components[0] ?? '')) return false
  return components.every(
    (part) => part !== '' && part !== '.' && part !== '..' && part.length <= KEY_COMPONENT_BYTES_MAX,
  )
}

/** @throws AssertionError unless `prefix` is empty, or a key and a `/`. */
export function assertPrefix(prefix: string): void {
  assert(
    prefix === '' || (prefix.endsWith('/') && isKey(prefix.slice(0, -1))),
    `not a prefix of store keys: ${JSON.stringify(prefix)}`,
  )
}

export function packKey(packId: string, generation: number): string {
  assert(PACK_ID.test(packId), `not a pack id: ${packId}`)
  assert(Number.isSafeInteger(generation) && generation >= 0, `not a generation: ${generation}`)
  return `${packsPrefix}${packId.slice(0, 2)}/${packId}.${generation}`
}

export function parsePackKey(key: string): { packId: string; generation: number } | undefined {
  const [, packId, digits] = /^packs\/[0-9a-f]{2}\/([0-9a-f]{64})\.([0-9]{1,16})$/u.exec(key) ?? []
  if (packId === undefined || digits === undefined) return undefined
  const generation = Number(digits)
  if (!Number.isSafeInteger(generation) || packKey(packId, generation) !== key) return undefined
  return { packId, generation }
}

/** All runs, or those of one machine. */
export function runsPrefix(machine?: string): string {
  return machine === undefined ? 'runs/' : `runs/${encodeName(machine)}/`
}

export function runKey(machine: string, id: string): string {
  assert(RUN_ID.test(id), `not a run id: ${id}`)
  return runsPrefix(machine) + id
}

export function parseRunKey(key: string): { machine: string; id: string } | undefined {
  const [, encoded, id] = /^runs\/([^/]+)\/([^/]+)$/u.exec(key) ?? []
  if (encoded === undefined || id === undefined || !RUN_ID.test(id)) return undefined
  const machine = decodeName(encoded)
  return machine === undefined ? undefined : { machine, id }
}

/** All chain states, or those of one machine. */
export function chainsPrefix(machine?: string): string {
  return machine === undefined ? 'chains/' : `chains/${encodeName(machine)}/`
}

export function chainKey(machine: string, sequence: number): string {
  assert(
    Number.isSafeInteger(sequence) && sequence >= 0 && sequence <= SEQUENCE_MAX,
    `not a sequence: ${sequence}`,
  )
  return chainsPrefix(machine) + String(sequence).padStart(12, '0')
}

export function parseChainKey(key: string): { machine: string; sequence: number } | undefined {
  const [, encoded, digits] = /^chains\/([^/]+)\/([0-9]{12})$/u.exec(key) ?? []
  if (encoded === undefined || digits === undefined) return undefined
  const machine = decodeName(encoded)
  return machine === undefined ? undefined : { machine, sequence: Number(digits) }
}
