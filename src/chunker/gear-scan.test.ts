import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { makeScanner, PlainScanner } from './gear-scan.js'
import { gearScanModule } from './gear-scan-module.js'

describe('the scanner in WebAssembly', () => {
  it('is a valid module, and is what is used here', () => {
    const { WebAssembly } = globalThis as unknown as { WebAssembly: { validate(bytes: Uint8Array): boolean } }
    expect(WebAssembly.validate(gearScanModule())).toBe(true)
    expect(makeScanner()).not.toBeInstanceOf(PlainScanner)
  })

  it('finds what the one in JavaScript finds', () => {
    const wasm = makeScanner()
    const plain = new PlainScanner()
    const places = fc.array(fc.nat(), { minLength: 3, maxLength: 3 })
    // A mask of few bits is met soon, one of many only at the end.
    const mask = fc.integer({ min: 0, max: 20 }).map((bits) => (bits === 0 ? 0 : -1 << (32 - bits)))
    let met = 0
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 3000 }),
        places,
        mask,
        mask,
        (bytes, some, rare, often) => {
          const [from = 0, normal = 0, end = 0] = some
            .map((place) => place % (bytes.length + 1))
            .sort((a, b) => a - b)
          wasm.load(bytes)
          plain.load(bytes)
          const found = plain.scan(from, normal, end, rare, often)
          if (found < end) met++
          expect(wasm.scan(from, normal, end, rare, often)).toBe(found)
        },
      ),
      { numRuns: 2000 },
    )
    expect(met).toBeGreaterThan(200)
  })

  it('takes more than it had room for', () => {
    const wasm = makeScanner()
    const bytes = Uint8Array.from({ length: 5 * 1024 * 1024 }, (_, i) => Math.imul(i, 2654435761) >>> 24)
    wasm.load(bytes.subarray(0, 10))
    wasm.load(bytes)
    const plain = new PlainScanner()
    plain.load(bytes)
    for (const end of [70_000, bytes.length])
      expect(wasm.scan(100, end, end, -1, -1)).toBe(plain.scan(100, end, end, -1, -1))
    const mask = 0xffff8000 | 0
    expect(wasm.scan(100, 200, bytes.length, mask, mask)).toBe(plain.scan(100, 200, bytes.length, mask, mask))
  })
})
