import { describe, expect, it } from 'vitest'

import { chainState, diskState, pointState } from '../../test/format-states.js'
import { sealJson } from '../sealed-json.js'
import { type ChainState, chainFormatOf, decodeChainState, encodeChainState } from './chain-state.js'

const run = (digit: string) => ({
  stride: 4096,
  segments: [{ id: digit.repeat(64), start: 0, end: 4096, extents: 1 }],
})
const plain = diskState('d', 8192, run('a'), true)
const folded = { ...plain, folded: [{ sizeBytes: 4096, run: run('b') }] }

const stateOf = (format: ChainState['format'], disk: typeof plain): ChainState => ({
  ...chainState('m', 1, [pointState('a0000000', [disk])]),
  format,
})

describe('a chain state', () => {
  it('has the lowest format that has all that is in it, so that as many versions as can be understand it', () => {
    expect(chainFormatOf(stateOf(1, plain).points)).toBe(1)
    expect(chainFormatOf([{ ...pointState('a0000000', [plain]), consistency: 'filesystem' }])).toBe(2)
    expect(chainFormatOf(stateOf(3, folded).points)).toBe(3)
    for (const state of [stateOf(1, plain), stateOf(3, folded)])
      expect(decodeChainState(encodeChainState(state))).toEqual(state)
    for (const state of [stateOf(2, plain), stateOf(3, plain), stateOf(1, folded), stateOf(2, folded)])
      expect(decodeChainState(sealJson(state))).toBeUndefined()
  })

  it('names runs that were folded in, or has no such member', () => {
    for (const some of [[], [{ sizeBytes: -1, run: run('b') }], [{ run: run('b') }], run('b')])
      expect(
        decodeChainState(
          sealJson({
            ...stateOf(3, plain),
            points: [pointState('a0000000', [{ ...plain, folded: some } as never])],
          }),
        ),
      ).toBeUndefined()
  })
})
