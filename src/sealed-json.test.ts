import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { openSealedJson, sealJson } from './sealed-json.js'

const SAMPLE = {
  everfold: 'sample',
  note: 'Grüße \u{1f600} \ufffd "\\',
  sizes: [0, 1, 2 ** 53 - 1],
  x: { y: null },
}

/** Bytes with the checksum that belongs to them, as somebody else might make them. */
function forge(text: string): Uint8Array {
  const checksum = createHash('sha256').update(`${text}}`).digest('hex')
  return Buffer.from(`${text},"sha256":"${checksum}"}`)
}

describe('sealed JSON', () => {
  it('gives back what was sealed, and is JSON with the checksum as its last member', () => {
    const json = fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue(), {
      minKeys: 1,
      noNullPrototype: true,
    })
    fc.assert(
      fc.property(json, (value) => {
        const payload = JSON.parse(JSON.stringify(value))
        const sealed = sealJson(payload)
        expect(openSealedJson(sealed)).toEqual(payload)
        const parsed = JSON.parse(Buffer.from(sealed).toString())
        if (!('sha256' in payload)) expect(Object.keys(parsed).at(-1)).toBe('sha256')
      }),
    )
  })

  it('opens bytes that lie within a larger buffer', () => {
    const sealed = sealJson(SAMPLE)
    const larger = Buffer.concat([Buffer.from('before'), sealed, Buffer.from('after')])
    expect(openSealedJson(larger.subarray(6, 6 + sealed.length))).toEqual(SAMPLE)
    expect(openSealedJson(larger)).toBeUndefined()
  })

  it('rejects every flipped bit', () => {
    const sealed = sealJson(SAMPLE)
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const damaged = Uint8Array.from(sealed)
      damaged[bit >> 3]! ^= 1 << (bit & 7)
      expect(openSealedJson(damaged), `bit ${bit}`).toBeUndefined()
    }
  })

  it('rejects damage that decodes to the same characters: a replacement character has many spellings', () => {
    const sealed = Buffer.from(sealJson({ note: 'a\ufffdb' }))
    const at = sealed.indexOf(Buffer.from('\ufffd'))
    // The beginning of a character of four bytes, cut off: decoders put U+FFFD in its place, just once.
    sealed.set([0xf3, 0xbf, 0xbd], at)
    expect(sealed.toString()).toBe(Buffer.from(sealJson({ note: 'a\ufffdb' })).toString())
    expect(openSealedJson(sealed)).toBeUndefined()
  })

  it('rejects every truncation, and bytes that were added', () => {
    const sealed = sealJson(SAMPLE)
    for (let length = 0; length < sealed.length; length++)
      expect(openSealedJson(sealed.subarray(0, length))).toBeUndefined()
    for (const added of [' ', '\n', '\0', '}'])
      expect(openSealedJson(Buffer.concat([sealed, Buffer.from(added)]))).toBeUndefined()
  })

  it.each([
    ['what is no object', '[1'],
    ['what is no JSON', '{"a":'],
    ['white space that it does not write', '{"a": 1'],
    ['a member that is there twice', '{"a":1,"a":2'],
    ['a number in another spelling', '{"a":1.0'],
  ])('rejects %s, though the checksum is right', (_, text) => {
    expect(openSealedJson(forge('{"a":1'))).toEqual({ a: 1 })
    expect(openSealedJson(forge(text))).toBeUndefined()
  })

  it('answers undefined, and never throws, on arbitrary bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(openSealedJson(bytes)).toBeUndefined()
      }),
    )
  })
})
