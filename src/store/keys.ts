/**
 * Every key of a store is built, and taken apart, here.
 *
 *   everfold.json                     what the repository is
 *   packs/<2 hex>/<id>.<generation>   <2 hex> are the id's first: folders stay small
 *   bundles/<2 hex>/<id>              small packs joined
 *   runs/<machine>/<id>               <machine> is percent-encoded, see names.ts
 *   chains/<machine>/<sequence>       12 digits, so that names sort as numbers do
 *   settings/<number>                 the repository's settings, likewise; the highest holds
 *   machines/<number>                 every machine that ever had a chain, likewise
 *   quarantine/<number>               what is condemned or damaged, likewise
 *   tokens/<number>                   who may use the service, likewise
 *   jobs/<number>/<step>              what the service does in the background: a job's newest step holds
 *   sessions/<id>/…                   an upload under way: begin, <series>.<number> (its parts), done
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
export const RESERVED_FOLDERS: readonly string[] = ['tmp', 'index', 'lock', 'audit', 'lost+found']

export const repositoryKey = 'everfold.json'

/** Who has, or had, a repository in a bucket: see s3-claims.ts. */
export const claimsPrefix = 'lock/'

/** Is it of a kind that repositories are made of? For a bucket or folder that may be somebody else's. */
export function isOwnKey(key: string): boolean {
  return /^(?:everfold\.json$|(?:packs|bundles|runs|chains|settings|machines|quarantine|tokens|jobs|sessions|lock)\/)/u.test(
    key,
  )
}

export const packsPrefix = 'packs/'

const PACK_ID = /^[0-9a-f]{64}$/u
const RUN_ID = /^[0-9a-f]{16,64}$/u

/** @throws AssertionError unless `key` is ASCII of at most 900 bytes, without empty or dot components. */
export function assertKey(key: string): void {
  if (!isKey(key)) assert.fail(`not a store key: ${JSON.stringify(key)}`)
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

export const bundlesPrefix = 'bundles/'

/** Many small packs in one object. */
export function bundleKey(id: string): string {
  assert(PACK_ID.test(id), `not a bundle id: ${id}`)
  return `${bundlesPrefix}${id.slice(0, 2)}/${id}`
}

export function parseBundleKey(key: string): string | undefined {
  const [, id] = /^bundles\/[0-9a-f]{2}\/([0-9a-f]{64})$/u.exec(key) ?? []
  return id !== undefined && bundleKey(id) === key ? id : undefined
}

export const machinesPrefix = 'machines/'

/** Entry of the machine registry: numbered without gaps from 0. */
export function machineKey(number: number): string {
  assert(Number.isSafeInteger(number) && number >= 0 && number <= SEQUENCE_MAX, `not a number: ${number}`)
  return machinesPrefix + String(number).padStart(12, '0')
}

/** What garbage collection and verification have to remember, see merge/quarantine.ts: numbered upwards. */
export const quarantinePrefix = 'quarantine/'

export function quarantineKey(number: number): string {
  assert(Number.isSafeInteger(number) && number >= 0 && number <= SEQUENCE_MAX, `not a number: ${number}`)
  return quarantinePrefix + String(number).padStart(12, '0')
}

export function parseQuarantineKey(key: string): number | undefined {
  const [, digits] = /^quarantine\/([0-9]{12})$/u.exec(key) ?? []
  return digits === undefined ? undefined : Number(digits)
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

export const settingsPrefix = 'settings/'

/** Settings of the repository, see chain/settings.ts: numbered without gaps from 0, and the highest holds. */
export function settingsKey(number: number): string {
  assert(Number.isSafeInteger(number) && number >= 0 && number <= SEQUENCE_MAX, `not a number: ${number}`)
  return settingsPrefix + String(number).padStart(12, '0')
}

export function parseSettingsKey(key: string): number | undefined {
  const [, digits] = /^settings\/([0-9]{12})$/u.exec(key) ?? []
  return digits === undefined ? undefined : Number(digits)
}

export const tokensPrefix = 'tokens/'

/** Who may use the service, see server/token-book.ts: numbered without gaps from 0, and the highest holds. */
export function tokensKey(number: number): string {
  assert(Number.isSafeInteger(number) && number >= 0 && number <= SEQUENCE_MAX, `not a number: ${number}`)
  return tokensPrefix + String(number).padStart(12, '0')
}

export function parseTokensKey(key: string): number | undefined {
  const [, digits] = /^tokens\/([0-9]{12})$/u.exec(key) ?? []
  return digits === undefined ? undefined : Number(digits)
}

export const jobsPrefix = 'jobs/'

/** The step that is a job's last. */
export const JOB_STEP_END = 999

/** A record of a job of the service, see server/job-list.ts: jobs are numbered upwards, and their steps too. */
export function jobKey(number: number, step: number): string {
  assert(Number.isSafeInteger(number) && number >= 0 && number <= SEQUENCE_MAX, `not a number: ${number}`)
  assert(Number.isSafeInteger(step) && step >= 0 && step <= JOB_STEP_END, `not a step: ${step}`)
  return `${jobsPrefix}${String(number).padStart(12, '0')}/${String(step).padStart(3, '0')}`
}

export function parseJobKey(key: string): { number: number; step: number } | undefined {
  const [, number, step] = /^jobs\/([0-9]{12})\/([0-9]{3})$/u.exec(key) ?? []
  return number === undefined || step === undefined
    ? undefined
    : { number: Number(number), step: Number(step) }
}

export const sessionsPrefix = 'sessions/'

const SESSION_ID = /^[0-9a-z]{26}$/u
const SERIES = /^[0-9a-f]{16}$/u

/** Could it be one? For what comes from outside. */
export function isSessionId(text: string): boolean {
  return SESSION_ID.test(text)
}

/** All objects of one session. */
export function sessionPrefix(id: string): string {
  assert(SESSION_ID.test(id), `not a session id: ${id}`)
  return `${sessionsPrefix}${id}/`
}

/** What the session is about. */
export function sessionBeginKey(id: string): string {
  return `${sessionPrefix(id)}begin`
}

/** What became of it: the point. */
export function sessionDoneKey(id: string): string {
  return `${sessionPrefix(id)}done`
}

/** One part of what has arrived: numbered without gaps from 0. `series` tells parts of one session from another of the same id. */
export function sessionPartKey(id: string, series: string, number: number): string {
  assert(SERIES.test(series), `not a series: ${series}`)
  assert(Number.isSafeInteger(number) && number >= 0 && number <= SEQUENCE_MAX, `not a number: ${number}`)
  return `${sessionPrefix(id)}${series}.${String(number).padStart(12, '0')}`
}

export type SessionKey =
  | { readonly id: string; readonly kind: 'begin' | 'done' }
  | { readonly id: string; readonly kind: 'part'; readonly series: string; readonly number: number }

export function parseSessionKey(key: string): SessionKey | undefined {
  const [, id, kind, series, digits] =
    /^sessions\/([0-9a-z]{26})\/(?:(begin|done)|([0-9a-f]{16})\.([0-9]{12}))$/u.exec(key) ?? []
  if (id === undefined) return undefined
  if (kind === 'begin' || kind === 'done') return { id, kind }
  if (series === undefined || digits === undefined) return undefined
  return { id, kind: 'part', series, number: Number(digits) }
}
