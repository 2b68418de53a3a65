import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkName, decodeName, ENCODED_NAME_BYTES_MAX, encodeName } from './names.js'

const kinds = ['machine', 'disk'] as const

describe('a name', () => {
  it.each([
    'web1.example.com',
    'Büro PC',
    'datenbank-2',
    'C:',
    '日本',
    'a',
    '-',
    '_x_',
    'Bob\'s "big" (new) server!*~',
    '100%',
    '%41',
    'a?b#c&d;e|f<g>',
    '🚀 rocket',
    '/'.replace('/', '⁄'),
    'a'.repeat(ENCODED_NAME_BYTES_MAX),
    'ü'.repeat(33),
  ])('may be %j', (name) => {
    for (const kind of kinds) expect(checkName(kind, name)).toBe(name.normalize('NFC'))
    expect(decodeName(encodeName(name))).toBe(name)
  })

  it.each([
    ['', 'is empty'],
    [' a', 'white space'],
    ['a ', 'white space'],
    ['\u00a0a', 'white space'],
    ['a\n', 'white space'],
    ['a/b', 'slash'],
    ['a\\b', 'slash'],
    ['/', 'slash'],
    ['.', 'dot'],
    ['..', 'dot'],
    ['.hidden', 'dot'],
    ['end.', 'dot'],
    ['a..b', 'two dots'],
    ['a\0b', 'invisible'],
    ['a\nb', 'invisible'],
    ['a\u200bb', 'invisible'],
    ['a\u202eb', 'invisible'],
    ['a\u2028b', 'invisible'],
    ['\u007f', 'invisible'],
    ['\ud800', 'surrogate'],
    ['a\udc00b', 'surrogate'],
    ['a'.repeat(ENCODED_NAME_BYTES_MAX + 1), 'shorten'],
    ['ü'.repeat(34), 'shorten'],
    ['日'.repeat(23), 'shorten'],
  ])('may not be %j, and the message says why', (name, reason) => {
    for (const kind of kinds) {
      expect(() => checkName(kind, name)).toThrow(
        expect.objectContaining({ code: 'NAME_INVALID', message: expect.stringContaining(reason) }),
      )
    }
  })

  it("may have '=' in it for a machine, but not for a disk, which the command line writes as DISK=PATH", () => {
    expect(checkName('machine', 'a=b')).toBe('a=b')
    expect(() => checkName('disk', 'a=b')).toThrow(/disk name "a=b" has '='.*dash/u)
  })

  it('is the same name whether its accents were typed as one character or two', () => {
    expect(checkName('machine', 'Bu\u0308ro')).toBe('B\u00fcro')
  })
})

describe('the encoding of a name', () => {
  it.each([
    ['web1.example.com', 'web1.example.com'],
    ['Büro PC', 'B%C3%BCro%20PC'],
    ['C:', 'C%3A'],
    ['日本', '%E6%97%A5%E6%9C%AC'],
    ["!'()*~", '%21%27%28%29%2A%7E'],
    ['%41', '%2541'],
  ])('of %s is %s, for ever: it is part of the store format', (name, encoded) => {
    expect(encodeName(name)).toBe(encoded)
    expect(decodeName(encoded)).toBe(name)
  })

  // Mostly what people type, with a good share of what is special here.
  const anyName = fc.string({
    unit: fc.oneof(
      { weight: 4, arbitrary: fc.constantFrom(...Array.from("ab.-_ %C:=~!'()*2E/\\\0ü日\u0308")) },
      { weight: 1, arbitrary: fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }) },
    ),
    maxLength: 40,
  })
  const validName = anyName.filter(isValid).map((name) => checkName('machine', name))

  it('comes back as the name, and is one safe path component', () => {
    fc.assert(
      fc.property(validName, (name) => {
        const encoded = encodeName(name)
        expect(decodeName(encoded)).toBe(name)
        expect(encoded).toMatch(/^[A-Za-z0-9_%-](?:[A-Za-z0-9._%-]*[A-Za-z0-9_%-])?$/u)
        expect(encoded).not.toContain('..')
        expect(encoded.length).toBeLessThanOrEqual(ENCODED_NAME_BYTES_MAX)
        expect(checkName('machine', name)).toBe(name)
      }),
      { numRuns: 2000 },
    )
  })

  it('differs for different names', () => {
    fc.assert(
      fc.property(validName, validName, (one, other) => {
        expect(encodeName(one) === encodeName(other)).toBe(one === other)
      }),
      { numRuns: 2000 },
    )
  })

  it('is the only text that decodes to the name', () => {
    const text = fc.string({ unit: fc.constantFrom(...Array.from('aB.%234ECcü/~ ')), maxLength: 12 })
    fc.assert(
      fc.property(text, (encoded) => {
        const name = decodeName(encoded)
        if (name !== undefined) expect(encodeName(name)).toBe(encoded)
      }),
      { numRuns: 5000 },
    )
  })

  it.each([
    '',
    '.',
    '..',
    'a/b',
    '%',
    '%4',
    '%41',
    '%c3%bc',
    '%C3',
    '%ED%A0%80',
    'a b',
    'ü',
    '.a',
    'a.',
    'a..b',
    '~',
  ])('cannot be %j', (encoded) => {
    expect(decodeName(encoded)).toBeUndefined()
  })

  it('of a name that was not checked is a bug of ours', () => {
    for (const name of ['', '..', 'a.', '\ud800', 'ü'.repeat(34)]) {
      expect(() => encodeName(name)).toThrow(/names are checked before/u)
    }
  })
})

function isValid(name: string): boolean {
  try {
    checkName('machine', name)
    return true
  } catch {
    return false
  }
}
