import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  assertKey,
  assertPrefix,
  chainKey,
  chainsPrefix,
  isKey,
  packKey,
  packsPrefix,
  parseChainKey,
  parsePackKey,
  parseRunKey,
  parseSettingsKey,
  repositoryKey,
  runKey,
  runsPrefix,
  SEQUENCE_MAX,
  settingsKey,
  settingsPrefix,
} from './keys.js'

const packId = 'ab'.repeat(32)
const runId = '0123456789abcdef'.repeat(2)

describe('keys', () => {
  it('have the shapes that docs/format.md gives, for ever', () => {
    expect(repositoryKey).toBe('everfold.json')
    expect(packKey(packId, 0)).toBe(`packs/ab/${packId}.0`)
    expect(packKey(packId, 12)).toBe(`packs/ab/${packId}.12`)
    expect(runKey('Büro PC', runId)).toBe(`runs/B%C3%BCro%20PC/${runId}`)
    expect(chainKey('web1', 7)).toBe('chains/web1/000000000007')
    expect(chainKey('web1', SEQUENCE_MAX)).toBe('chains/web1/999999999999')
    expect([settingsPrefix, settingsKey(12)]).toEqual(['settings/', 'settings/000000000012'])
    expect([packsPrefix, runsPrefix(), runsPrefix('a b'), chainsPrefix(), chainsPrefix('C:')]).toEqual([
      'packs/',
      'runs/',
      'runs/a%20b/',
      'chains/',
      'chains/C%3A/',
    ])
  })

  it('are parsed into what they were built from', () => {
    const machines = fc.constantFrom('web1', 'Büro PC', 'C:', '日本', 'a=b', '%41')
    const hex = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((id) => Buffer.from(id).toString('hex'))
    fc.assert(
      fc.property(
        machines,
        hex,
        fc.maxSafeNat(),
        fc.nat(SEQUENCE_MAX),
        (machine, id, generation, sequence) => {
          expect(parsePackKey(packKey(id, generation))).toEqual({ packId: id, generation })
          expect(parseRunKey(runKey(machine, id))).toEqual({ machine, id })
          expect(parseChainKey(chainKey(machine, sequence))).toEqual({ machine, sequence })
          expect(parseSettingsKey(settingsKey(sequence))).toBe(sequence)
          for (const key of [packKey(id, generation), runKey(machine, id), chainKey(machine, sequence)])
            assertKey(key)
        },
      ),
    )
  })

  it('sort as their sequences do', () => {
    const keys = [0, 1, 9, 10, 99, 1000, SEQUENCE_MAX].map((sequence) => chainKey('m', sequence))
    expect([...keys].sort()).toEqual(keys)
  })

  it.each([
    '',
    'everfold.json',
    `packs/${packId}.0`,
    `packs/cd/${packId}.0`,
    `packs/ab/${packId}`,
    `packs/ab/${packId}.`,
    `packs/ab/${packId}.01`,
    `packs/ab/${packId}.-1`,
    `packs/ab/${packId}.1e3`,
    `packs/ab/${packId}.9007199254740992`,
    `packs/ab/${packId}.0.damaged`,
    `packs/ab/${packId.toUpperCase()}.0`,
    `packs/AB/${packId}.0`,
    `packs/ab/${packId.slice(2)}.0`,
    `packs/ab/${packId}.0\n`,
    ` packs/ab/${packId}.0`,
    `x/packs/ab/${packId}.0`,
    `runs/m/${runId}/x`,
    `runs/${runId}`,
    `runs//${runId}`,
    `runs/a b/${runId}`,
    `runs/%41/${runId}`,
    `runs/%c3%bc/${runId}`,
    `runs/../${runId}`,
    `runs/m/${runId.toUpperCase()}`,
    'runs/m/abc',
    `runs/m/${runId}.tmp`,
    'chains/m/1',
    'chains/m/0000000000001',
    'chains/m/00000000000x',
    'chains/.m/000000000001',
    'chains/m/x/000000000001',
    'chains/000000000001',
    'settings/1',
    'settings/0000000000001',
    'settings/00000000000x',
    'settings/x/000000000001',
    ' settings/000000000001',
  ])('are not made by us when they read %j', (key) => {
    const parsed = [parsePackKey(key), parseRunKey(key), parseChainKey(key), parseSettingsKey(key)]
    expect(parsed).toEqual([undefined, undefined, undefined, undefined])
  })

  it('are not built from what is no id or number: that is a bug of ours', () => {
    expect(() => packKey('abc', 0)).toThrow(/not a pack id/u)
    expect(() => packKey(packId, -1)).toThrow(/not a generation/u)
    expect(() => packKey(packId, 0.5)).toThrow(/not a generation/u)
    expect(() => runKey('m', '../../x')).toThrow(/not a run id/u)
    expect(() => runKey('..', runId)).toThrow(/names are checked/u)
    expect(() => chainKey('m', SEQUENCE_MAX + 1)).toThrow(/not a sequence/u)
    expect(() => chainKey('m', -1)).toThrow(/not a sequence/u)
    expect(() => settingsKey(-1)).toThrow(/not a number/u)
    expect(() => settingsKey(SEQUENCE_MAX + 1)).toThrow(/not a number/u)
  })
})

describe('assertKey', () => {
  it.each([
    'a',
    'a/b',
    'packs/ab/x.0',
    '...',
    'a/.b',
    `${'a'.repeat(255)}/${'b'.repeat(255)}`,
    'tmpx/a',
    'a/tmp',
  ])('accepts %j', (key) => {
    assertKey(key)
    assertPrefix(`${key}/`)
  })

  it.each([
    '',
    '/',
    '/a',
    'a/',
    'a//b',
    '.',
    '..',
    'a/../b',
    'a/.',
    'a\\b',
    'a b',
    'ü',
    'a\0',
    'a\n',
    'a'.repeat(256),
    `${'a/'.repeat(450)}b`,
    'tmp/a',
    'tmp',
    'index/000001.log',
    'lock/holder.json',
    'lost+found/x',
  ])('refuses %j', (key) => {
    expect(() => assertKey(key)).toThrow(/not a store key/u)
    expect(isKey(key)).toBe(false)
  })

  it('accepts keys of 900 bytes and refuses those of 901', () => {
    const key = 'a/'.repeat(449) + 'bb'
    expect(key).toHaveLength(900)
    assertKey(key)
    expect(() => assertKey(`${key}b`)).toThrow()
  })

  it('has a counterpart for prefixes: empty, or a key and a slash', () => {
    assertPrefix('')
    for (const prefix of ['a', '/', 'a//', '../', 'tmp/'])
      expect(() => assertPrefix(prefix)).toThrow(/not a prefix/u)
  })
})
