import { describe, expect, it } from 'vitest'

import { EverfoldError } from '../errors.js'
import { IndexUnusable } from './index-unusable.js'
import { translateLevelError } from './level-errors.js'

function levelError(code: string | undefined, message: string): Error {
  return Object.assign(new Error(message), code === undefined ? {} : { code })
}

/** As abstract-level wraps what goes wrong while opening. */
function whileOpening(cause: Error): Error {
  return Object.assign(new Error('Database failed to open', { cause }), { code: 'LEVEL_DATABASE_NOT_OPEN' })
}

describe('translateLevelError', () => {
  it.each([
    ['LEVEL_CORRUPTION', 'Corruption: bad block type'],
    ['LEVEL_IO_ERROR', 'IO error: /index/000005.ldb: No such file or directory'],
    ['LEVEL_IO_ERROR', 'IO error: /index/000005.ldb: Invalid argument'],
  ])('takes %s, "%s" for damage', (code, message) => {
    expect(translateLevelError('/index', levelError(code, message))).toBeInstanceOf(IndexUnusable)
    expect(translateLevelError('/index', whileOpening(levelError(code, message)), true)).toBeInstanceOf(
      IndexUnusable,
    )
  })

  it.each([
    ['LEVEL_IO_ERROR', 'IO error: /index/000005.log: No space left on device', 'STORE_FULL'],
    ['ENOSPC', 'ENOSPC: no space left on device, mkdir', 'STORE_FULL'],
    ['LEVEL_IO_ERROR', 'IO error: /index/000005.log: Input/output error', 'STORE_FAILED'],
    ['LEVEL_IO_ERROR', 'IO error: /index/LOCK: Permission denied', 'STORE_FAILED'],
    ['EACCES', 'EACCES: permission denied, mkdir', 'STORE_FAILED'],
    ['LEVEL_LOCKED', 'IO error: lock /index/LOCK: already held by process', 'REPOSITORY_LOCKED'],
  ])('takes %s, "%s" for %s', (code, message, expected) => {
    for (const error of [levelError(code, message), whileOpening(levelError(code, message))]) {
      expect(translateLevelError('/index', error, true)).toMatchObject({ code: expected, cause: error })
    }
  })

  it('takes what it does not understand for damage only while opening', () => {
    const strange = levelError(undefined, 'Invalid argument: comparator mismatch')
    expect(translateLevelError('/index', whileOpening(strange), true)).toBeInstanceOf(IndexUnusable)
    expect(translateLevelError('/index', strange)).toBe(strange)
  })

  it('leaves our own errors alone', () => {
    const ours = new EverfoldError('CANCELLED', 'stopped')
    expect(translateLevelError('/index', ours, true)).toBe(ours)
  })
})
