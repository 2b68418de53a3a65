import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { BinaryReader, BinaryWriter, copyNumbers, MalformedError } from './binary.js'

const SAFE = Number.MAX_SAFE_INTEGER
const uint = fc.maxSafeNat()
/** What zigzag coding doubles must stay exact. */
const sint = fc.integer({ min: -(2 ** 52), max: 2 ** 52 - 1 })

const field = fc.oneof(
  fc.record({ kind: fc.constant('u8' as const), value: fc.nat(0xff) }),
  fc.record({ kind: fc.constant('u16' as const), value: fc.nat(0xffff) }),
  fc.record({ kind: fc.constant('u32' as const), value: fc.integer({ min: 0, max: 0xffff_ffff }) }),
  fc.record({ kind: fc.constantFrom('u64' as const, 'varint' as const), value: uint }),
  fc.record({ kind: fc.constant('signedVarint' as const), value: sint }),
)

function varintBytes(value: number): Uint8Array {
  const out = new BinaryWriter(1)
  out.varint(value)
  return out.view()
}

const boundaries = Array.from({ length: 53 }, (_, bit) => 2 ** bit).flatMap((n) => [n - 1, n, n + 1])

describe('BinaryWriter and BinaryReader', () => {
  it('read back whatever was written, in order, to the last byte', () => {
    fc.assert(
      fc.property(fc.array(field, { maxLength: 40 }), fc.uint8Array(), (fields, raw) => {
        const out = new BinaryWriter(1)
        for (const { kind, value } of fields) out[kind](value)
        out.bytes(raw)
        expect(out.length).toBe(out.view().length)
        const reader = new BinaryReader(out.view())
        for (const { kind, value } of fields) expect(reader[kind]()).toBe(value)
        expect(reader.remaining).toBe(raw.length)
        expect([...reader.bytes(raw.length)]).toEqual([...raw])
        reader.end()
      }),
    )
  })

  it('read from a view into a larger buffer', () => {
    const reader = new BinaryReader(Uint8Array.of(9, 9, 1, 2, 3, 4, 9).subarray(2, 6))
    expect(reader.u32()).toBe(0x04030201)
    expect(() => reader.u8()).toThrow(MalformedError)
  })

  it('write integers little-endian', () => {
    const out = new BinaryWriter()
    out.u16(0x0102)
    out.u32(0x01020304)
    out.u64(0x01_0203_0405_0607)
    expect(Buffer.from(out.view()).toString('hex')).toBe('0201' + '04030201' + '0706050403020100')
  })

  it('throw MalformedError and nothing else on arbitrary bytes', () => {
    const kinds = fc.constantFrom('u8', 'u16', 'u32', 'u64', 'varint', 'signedVarint', 'end')
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.array(kinds, { minLength: 1 }), (bytes, calls) => {
        const reader = new BinaryReader(bytes)
        try {
          for (const call of calls) {
            const value = reader[call]()
            if (value !== undefined) expect(Number.isSafeInteger(value)).toBe(true)
          }
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedError)
        }
      }),
    )
  })

  it('refuse a negative length and one beyond the end', () => {
    expect(() => new BinaryReader(new Uint8Array(4)).bytes(5)).toThrow(MalformedError)
    expect(() => new BinaryReader(new Uint8Array(4)).bytes(-1)).toThrow(MalformedError)
  })

  it('refuse bytes that are left over', () => {
    const reader = new BinaryReader(new Uint8Array(2))
    reader.u8()
    expect(() => {
      reader.end()
    }).toThrow('1 bytes are left over')
  })
})

describe('copyNumbers', () => {
  it('reads what was written number by number, from wherever it lies', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(0xffff_ffff), { maxLength: 50 }), fc.nat(7), (numbers, before) => {
        const out = new BinaryWriter()
        for (let i = 0; i < before; i++) out.u8(0xff)
        for (const number of numbers) out.u32(number)
        const into = new Uint32Array(numbers.length + 2)
        copyNumbers(into.subarray(1, -1), out.view().subarray(before))
        expect([...into]).toEqual([0, ...numbers, 0])
      }),
    )
  })
})

describe('numbers of variable length', () => {
  it.each(boundaries.filter((n) => n <= SAFE))('keep %d', (value) => {
    const bytes = varintBytes(value)
    expect(new BinaryReader(bytes).varint()).toBe(value)
    expect(bytes.length).toBe(value === 0 ? 1 : Math.ceil(BigInt(value).toString(2).length / 7))
  })

  it('have the bytes of LEB128', () => {
    expect([...varintBytes(0)]).toEqual([0])
    expect([...varintBytes(127)]).toEqual([0x7f])
    expect([...varintBytes(128)]).toEqual([0x80, 0x01])
    expect([...varintBytes(624_485)]).toEqual([0xe5, 0x8e, 0x26])
    expect([...varintBytes(SAFE)]).toEqual([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f])
  })

  it('have one spelling: whatever decodes is what the value encodes to', () => {
    const spelling = fc.array(fc.constantFrom(0x80, 0x81, 0xff, 0xc0), { maxLength: 8 })
    fc.assert(
      fc.property(spelling, fc.nat(0x7f), (continued, last) => {
        const bytes = Uint8Array.from([...continued, last])
        let value: number
        try {
          value = new BinaryReader(bytes).varint()
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedError)
          return
        }
        expect([...varintBytes(value)]).toEqual([...bytes])
      }),
      { numRuns: 2000 },
    )
  })

  it.each([
    ['zero in two bytes', [0x80, 0x00]],
    ['2^53', [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]],
    ['nine bytes', [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x8f, 0x00]],
    ['no last byte', [0x80]],
    ['nothing', []],
  ])('refuse %s', (_, bytes) => {
    expect(() => new BinaryReader(Uint8Array.from(bytes)).varint()).toThrow(MalformedError)
  })

  it('refuse eight bytes that are over 2^53', () => {
    expect(() => new BinaryReader(new Uint8Array(8).fill(0xff)).u64()).toThrow(MalformedError)
    expect(() => new BinaryReader(Uint8Array.of(0, 0, 0, 0, 0, 0, 0x20, 0)).u64()).toThrow(MalformedError)
  })

  it('keep small magnitudes of either sign short', () => {
    for (const value of [-64, -1, 0, 1, 63]) {
      const out = new BinaryWriter()
      out.signedVarint(value)
      expect(out.length).toBe(1)
      expect(new BinaryReader(out.view()).signedVarint()).toBe(value)
    }
  })
})
