import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { type ErrorCode, EverfoldError } from '../errors.js'
import { ByteExtents, normalise } from './byte-extents.js'
import { decodeFeed } from './decode-feed.js'

const DISK = 1000
const decode = (text: string, size = DISK): ByteExtents => decodeFeed(Buffer.from(text), size, 'feed.json')
const decoded = (value: unknown, size = DISK): [number, number][] =>
  Array.from(decode(JSON.stringify(value), size), ({ offset, length }) => [offset, length])

function failure(text: string | Uint8Array, size = DISK): EverfoldError {
  try {
    decodeFeed(typeof text === 'string' ? Buffer.from(text) : text, size, 'feed.json')
  } catch (error) {
    if (error instanceof EverfoldError) return error
    throw error
  }
  throw new Error(`accepted: ${String(text)}`)
}

function expectFailure(value: unknown, code: ErrorCode, message: RegExp): void {
  const error = failure(typeof value === 'string' ? value : JSON.stringify(value))
  expect(error.message).toMatch(message)
  expect(error.code).toBe(code)
  expect(error.details).toMatchObject({ feed: 'feed.json' })
}

describe('a plain list', () => {
  it('is decoded, sorted and merged', () => {
    expect(
      decoded([
        { offset: 500, length: 100 },
        { length: 20, offset: 0 },
        { offset: 10, length: 20 },
        { offset: 3, length: 0 },
      ]),
    ).toEqual([
      [0, 30],
      [500, 100],
    ])
    expect(decoded([])).toEqual([])
    expect(decoded([{ offset: 0, length: DISK }])).toEqual([[0, DISK]])
  })

  it('may have other keys, as nbdinfo and rbd write them', () => {
    const extra = {
      type: 1,
      description: 'dirty “x” \\',
      exists: 'true',
      start: 'x',
      deep: [{ offset: -1 }, null, [1.5e3, false]],
    }
    expect(decoded([{ ...extra, offset: 1, length: 2, ...extra }])).toEqual([[1, 2]])
  })

  it('may have a byte order mark, white space, escaped keys and whole numbers written at length', () => {
    expect([...decode('\uFEFF\r\n\t[ {"\\u006fffset" : 1e2 , "length":20.0}\n] ')]).toEqual([
      { offset: 100, length: 20 },
    ])
    expect([...decode('[{"offset":-0,"length":1}]')]).toEqual([{ offset: 0, length: 1 }])
  })

  it('reaches to the very end of the numbers', () => {
    const size = Number.MAX_SAFE_INTEGER
    expect(decoded([{ offset: size - 1, length: 1 }], size)).toEqual([[size - 1, 1]])
  })
})

describe('VMware’s answer', () => {
  const page = (startOffset: number, length: number, areas?: [number, number][]): object => ({
    _typeName: 'DiskChangeInfo',
    startOffset,
    length,
    ...(areas && {
      changedArea: areas.map(([start, length]) => ({ _typeName: 'DiskChangeExtent', start, length })),
    }),
  })

  it('is decoded with or without changes', () => {
    expect(
      decoded(
        page(0, DISK, [
          [700, 300],
          [0, 5],
          [5, 5],
        ]),
      ),
    ).toEqual([
      [0, 10],
      [700, 300],
    ])
    expect(decoded(page(0, DISK, []))).toEqual([])
    expect(decoded(page(0, DISK))).toEqual([])
    expect(decoded(page(0, 0), 0)).toEqual([])
  })

  it('may name its areas before its window', () => {
    expect([
      ...decode(`{"changedArea":[{"length":5,"start":7}],"length":${String(DISK)},"startOffset":0}`),
    ]).toEqual([{ offset: 7, length: 5 }])
  })

  it('may come in pages, in any order', () => {
    const pages = [page(600, 400, [[600, 50]]), page(0, 600, [[550, 50]])]
    expect(decoded(pages)).toEqual([[550, 100]])
    expect(decoded(pages.toReversed())).toEqual([[550, 100]])
  })

  it('may speak for more than the disk, which has shrunk, as long as nothing changed beyond its end', () => {
    expect(decoded(page(0, 2 * DISK, [[DISK - 1, 1]]))).toEqual([[DISK - 1, 1]])
    expectFailure(
      page(0, 2 * DISK, [[DISK - 1, 2]]),
      'FEED_BEYOND_DISK',
      /changedArea\[0\] ends at byte 1001, but the disk has 1000 bytes/,
    )
  })

  it('is refused when pages are missing', () => {
    expectFailure(
      page(0, 999, [[0, 5]]),
      'FEED_INVALID',
      /incomplete: no page speaks for the 1 bytes from 999 on/,
    )
    expectFailure(page(1, 999), 'FEED_INVALID', /incomplete: .* the 1 bytes from 0 on/)
    expectFailure(page(0, 0), 'FEED_INVALID', /incomplete: .* the 1000 bytes from 0 on/)
    expectFailure([page(0, 300), page(700, 300)], 'FEED_INVALID', /incomplete: .* the 400 bytes from 300 on/)
    expectFailure([page(0, 300), page(300, 300)], 'FEED_INVALID', /incomplete: .* the 400 bytes from 600 on/)
  })

  it('is refused when an area lies out of its page', () => {
    expectFailure(
      [
        page(0, 500),
        page(500, 500, [
          [600, 1],
          [499, 2],
        ]),
      ],
      'FEED_INVALID',
      /element 1, changedArea\[1\] reaches from 499 to 501, out of its page \(500 to 1000\)/,
    )
    expectFailure(
      [page(0, 500, [[400, 101]]), page(500, 500)],
      'FEED_INVALID',
      /element 0, changedArea\[0\] .* out of its page/,
    )
  })
})

describe('a feed that is refused', () => {
  it.each([
    ['', /is empty/],
    [' \n', /is empty/],
    ['\uFEFF', /is empty/],
    ['no', /not valid JSON: it goes wrong at byte 0/],
    ['[{"offset":0,"length":1}', /not valid JSON: it ends too early at byte 24/],
    ['[{"offset":0,"length":1}] []', /not valid JSON: it goes wrong at byte 26/],
    ['[{"offset":0,"length":1},]', /element 1 is|not valid JSON/],
    ['[{"offset":01,"length":1}]', /not valid JSON: it goes wrong at byte 12/],
    ['['.repeat(1e6), /element 0 is|deep/],
    [`[{"x":${'['.repeat(1e6)}`, /nested more than 64 deep/],
    [`[{"x":${'{"x":'.repeat(1e6)}`, /nested more than 64 deep/],
  ])('is no JSON: %.30s', (text, message) => {
    expectFailure(text, 'FEED_INVALID', message)
  })

  it('is no text', () => {
    const error = failure(Uint8Array.of(0x5b, 0x22, 0xff, 0x22, 0x5d))
    expect([error.code, error.message]).toEqual([
      'FEED_INVALID',
      'feed.json is not valid JSON: it is not UTF-8 text',
    ])
  })

  it.each<[string, unknown, RegExp]>([
    ['a number', 5, /the feed is 5; expected an object/],
    ['null', null, /the feed is null/],
    ['an empty object', {}, /the feed has neither "offset" nor "startOffset"/],
    ['one extent', { offset: 0, length: 1 }, /the feed is one extent; expected a list/],
    ['a list of numbers', [1], /element 0 is 1; expected an object/],
    ['a list of lists', [[]], /element 0 is \[\]/],
    ['a later element of another kind', [{ offset: 0, length: 1 }, 'x'], /element 1 is "x"/],
    ['no length', [{ offset: 0, length: 1 }, { offset: 7 }], /element 1 has no "length"/],
    ['no offset', [{ length: 1 }], /element 0 has neither/],
    ['qemu-img’s map', [{ start: 0, length: 1 }], /element 0 has neither/],
    [
      'a negative number',
      [{ offset: -1, length: 1 }],
      /element 0 has -1 as "offset"; expected a whole number of bytes/,
    ],
    ['a fraction', [{ offset: 0, length: 1.5 }], /element 0 has 1\.5 as "length"/],
    [
      'a number above 2^53',
      '[{"offset":9007199254740993,"length":1}]',
      /element 0 has 9007199254740993 as "offset"/,
    ],
    ['an absurd number', '[{"offset":1e999,"length":1}]', /element 0 has 1e999 as "offset"/],
    ['an endless number', `[{"offset":${'9'.repeat(1e6)},"length":1}]`, /element 0 has 9{40}… as "offset"/],
    ['a number as a string', [{ offset: '65536', length: 1 }], /element 0 has "65536" as "offset"/],
    ['null for a number', [{ offset: null, length: 1 }], /element 0 has null as "offset"/],
    ['a sum above 2^53', [{ offset: Number.MAX_SAFE_INTEGER, length: 1 }], /element 0 ends beyond 2\^53/],
    ['a key twice', '[{"offset":0,"offset":5,"length":1}]', /element 0 has "offset" twice/],
    ['areas twice', '{"changedArea":[],"changedArea":[]}', /the feed has "changedArea" twice/],
    [
      'mixed shapes',
      [
        { offset: 0, length: 1 },
        { startOffset: 0, length: DISK },
      ],
      /element 1 is of another shape/,
    ],
    [
      'mixed shapes, the other way round',
      [
        { startOffset: 0, length: DISK },
        { offset: 0, length: 1 },
      ],
      /element 1 is of another shape/,
    ],
    [
      'both shapes at once',
      [{ offset: 0, startOffset: 0, length: 1 }],
      /element 0 is a list element and a page at once/,
    ],
    ['a page without its start', { length: DISK, changedArea: [] }, /the feed has no "startOffset"/],
    ['a page without its length', { startOffset: 0 }, /the feed has no "length"/],
    [
      'a window above 2^53',
      { startOffset: 1, length: Number.MAX_SAFE_INTEGER },
      /the feed ends beyond 2\^53/,
    ],
    [
      'areas that are no list',
      { startOffset: 0, length: DISK, changedArea: { start: 0, length: 1 } },
      /the feed has \{"start":0,"length":1\} as "changedArea"/,
    ],
    [
      'an area that is no object',
      { startOffset: 0, length: DISK, changedArea: [7] },
      /changedArea\[0\] is 7/,
    ],
    [
      'an area without its start',
      { startOffset: 0, length: DISK, changedArea: [{ length: 1 }] },
      /changedArea\[0\] has no "start"/,
    ],
    [
      'an area without its length',
      { startOffset: 0, length: DISK, changedArea: [{ start: 1 }] },
      /changedArea\[0\] has no "length"/,
    ],
    [
      'a wrong number in an area',
      [{ startOffset: 0, length: DISK, changedArea: [{ start: 1, length: '1' }] }],
      /element 0, changedArea\[0\] has "1" as "length"/,
    ],
  ])('has %s', (_, value, message) => {
    expectFailure(value, 'FEED_INVALID', message)
  })

  it('reaches beyond the disk', () => {
    expectFailure(
      [
        { offset: 0, length: 1 },
        { offset: 999, length: 2 },
      ],
      'FEED_BEYOND_DISK',
      /element 1 ends at byte 1001, but the disk has 1000 bytes/,
    )
    expectFailure([{ offset: 1001, length: 0 }], 'FEED_BEYOND_DISK', /1001/)
  })

  it('says where it is wrong in its details, too', () => {
    expect(failure('[{"offset":999,"length":2}]').details).toEqual({
      feed: 'feed.json',
      element: 0,
      offset: 999,
      length: 2,
      diskSizeBytes: DISK,
    })
    expect(failure('{"startOffset":0,"length":400}').details).toEqual({
      feed: 'feed.json',
      missing: { offset: 400, length: 600 },
      diskSizeBytes: DISK,
    })
    expect(failure('[}').details).toEqual({ feed: 'feed.json', byte: 1 })
  })
})

describe('fuzzed feeds', () => {
  const extent = fc.record({ offset: fc.nat(DISK), length: fc.nat(50) })
  const area = fc.record({ start: fc.nat(DISK), length: fc.nat(50) })
  const answer = fc.record(
    { startOffset: fc.nat(DISK), length: fc.nat(DISK), changedArea: fc.array(area, { maxLength: 5 }) },
    { requiredKeys: [] },
  )
  const feed = fc.oneof(fc.array(extent), answer, fc.array(answer), fc.array(fc.oneof(extent, answer)))

  /** Decodes to extents in the disk or to an error of the feed, which is returned. Anything else fails the test. */
  function attempt(bytes: Uint8Array): ByteExtents | EverfoldError {
    try {
      const extents = decodeFeed(bytes, DISK, 'fuzz')
      expect(normalise(extents)).toBe(extents)
      expect(extents.count === 0 || extents.end(extents.count - 1) <= DISK).toBe(true)
      return extents
    } catch (error) {
      if (!(error instanceof EverfoldError)) throw error
      expect(['FEED_INVALID', 'FEED_BEYOND_DISK']).toContain(error.code)
      return error
    }
  }

  function isJson(bytes: Uint8Array): boolean {
    try {
      JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
      return true
    } catch {
      return false
    }
  }

  /** What is accepted is JSON, and nothing that is JSON is said not to be. */
  function compareWithJsonParse(bytes: Uint8Array): void {
    const result = attempt(bytes)
    if (result instanceof ByteExtents) expect(isJson(bytes)).toBe(true)
    else if (isJson(bytes)) expect(result.message).not.toContain('not valid JSON')
  }

  it('survive random bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        compareWithJsonParse(bytes)
      }),
      { numRuns: 3000 },
    )
  })

  it('survive random JSON', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        compareWithJsonParse(Buffer.from(text))
      }),
      { numRuns: 3000 },
    )
  })

  it('name the same extents however they are laid out', () => {
    const valid = fc
      .array(extent)
      .map((extents) => extents.filter(({ offset, length }) => offset + length <= DISK))
    fc.assert(
      fc.property(valid, fc.nat(4), (extents, spaces) => {
        const result = attempt(Buffer.from(JSON.stringify(extents, undefined, spaces)))
        expect(result instanceof ByteExtents && [...result]).toEqual([
          ...normalise(ByteExtents.from(extents)),
        ])
      }),
    )
  })

  it('are JSON exactly where JSON.parse says so, after any change of a few bytes', () => {
    const edit = fc.record({
      at: fc.nat(),
      drop: fc.nat(3),
      insert: fc.oneof(
        fc.constantFrom(
          '',
          '"',
          ',',
          '[',
          '{',
          '}',
          ']',
          '-',
          '.',
          'e',
          '0',
          '\\',
          '\\u00e9',
          '\u0001',
          ' ',
          'null',
          '1e400',
        ),
        fc.string({ maxLength: 3 }),
      ),
    })
    fc.assert(
      fc.property(feed, fc.array(edit, { maxLength: 3 }), (value, edits) => {
        let text = JSON.stringify(value)
        for (const { at, drop, insert } of edits) {
          const position = at % (text.length + 1)
          text = text.slice(0, position) + insert + text.slice(position + drop)
        }
        compareWithJsonParse(Buffer.from(text))
      }),
      { numRuns: 20_000 },
    )
  })
})
