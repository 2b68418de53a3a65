import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { openSealedJson, sealJson } from '../../sealed-json.js'
import {
  decodeBegin,
  decodeDone,
  encodeBegin,
  encodeDone,
  type SessionBegin,
  type SessionDone,
} from './session-objects.js'

const SESSION = 'k0s2r0ztgxn8rjry77cxvbhfyj'

const BEGIN: SessionBegin = {
  everfold: 'session',
  format: 1,
  session: SESSION,
  series: '00112233445566ff',
  machine: 'web 1',
  owner: 'b0j5t4s1',
  createdAt: '2026-01-31T12:00:00.000Z',
  point: 'a1b2c3d4',
  base: null,
  named: false,
  note: 'nightly',
  consistency: 'crash',
  disks: [{ id: 'vda', sizeBytes: 20, content: 'whole', chunker: 'cdc', knownBytes: 0 }],
}

const DONE: SessionDone = {
  everfold: 'committed session',
  format: 1,
  session: SESSION,
  owner: 'b0j5t4s1',
  committedAt: '2026-01-31T12:00:01.000Z',
  result: {
    machine: 'web 1',
    point: 'a1b2c3d4',
    kind: 'full',
    createdAt: '2026-01-31T12:00:00.000Z',
    disks: [{ id: 'vda', sizeBytes: 20 }],
    readBytes: 20,
    changedBytes: 20,
    newBytes: 12,
    storedBytes: 258,
    seconds: 0.01,
  },
}

const KINDS = [
  ['begin', encodeBegin(BEGIN), decodeBegin, BEGIN],
  ['done', encodeDone(DONE), decodeDone, DONE],
] as const

describe.each(KINDS)('the object %s of a session', (_kind, encoded, decode, object) => {
  it('is decoded to what was encoded, under its own name', () => {
    expect(decode(encoded, SESSION)).toEqual(object)
    expect(decode(encoded, SESSION.replace('k', 'l'))).toBeUndefined()
    for (const [, other] of KINDS.filter(([, bytes]) => bytes !== encoded))
      expect(decode(other, SESSION)).toBeUndefined()
  })

  it('is damaged with any byte changed, added or left out, or made of anything else', () => {
    fc.assert(
      fc.property(fc.nat(encoded.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const changed = Uint8Array.from(encoded)
        changed[at] = (changed[at] ?? 0) ^ change
        expect(decode(changed, SESSION)).toBeUndefined()
        expect(decode(encoded.subarray(0, at), SESSION)).toBeUndefined()
        expect(decode(Buffer.concat([encoded, encoded.subarray(0, at + 1)]), SESSION)).toBeUndefined()
      }),
    )
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (any) => decode(any, SESSION) === undefined))
  })

  it('whose seal is right is taken only with what it may hold', () => {
    const whole = openSealedJson(encoded) as Record<string, unknown>
    const keys = Object.keys(whole)
    fc.assert(
      fc.property(fc.constantFrom(...keys, 'more'), fc.jsonValue(), fc.boolean(), (key, value, leaveOut) => {
        const members = Object.entries({ ...whole, [key]: value })
        const other = Object.fromEntries(members.filter(([name]) => !leaveOut || name !== key))
        const decoded = decode(sealJson(other), SESSION)
        if (decoded !== undefined) expect(decoded).toEqual(other)
        if (key === 'more' && !leaveOut) expect(decoded).toBeUndefined()
      }),
    )
  })
})
