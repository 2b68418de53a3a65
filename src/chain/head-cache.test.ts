import { describe, expect, it } from 'vitest'
import type { ChainHead } from './chains.js'
import { HeadCache } from './head-cache.js'

/** @param folded  runs that were folded into the disk of each point */
function head(machine: string, points: number, folded?: number): ChainHead {
  const disks = folded === undefined ? [] : [{ folded: Array(folded).fill({}) }]
  const point = { id: 'p', createdAt: '2026-01-01T00:00:00.000Z', disks }
  const state = { everfold: 'chain', format: 1, machine, sequence: 1, points: Array(points).fill(point) }
  return { state, damaged: [] } as unknown as ChainHead
}

describe('heads of chains in memory', () => {
  it('are those that were asked for last, up to a number of points', () => {
    const cache = new HeadCache(33)
    for (const name of ['a', 'b', 'c']) cache.set(name, head(name, 10))
    expect(cache.get('a')?.state.machine).toBe('a')
    cache.set('d', head('d', 10))
    expect(['a', 'b', 'c', 'd'].map((name) => cache.get(name)?.state.machine)).toEqual([
      'a',
      undefined,
      'c',
      'd',
    ])
  })

  it('are counted anew when they are replaced or taken out', () => {
    const cache = new HeadCache(33)
    for (let i = 0; i < 100; i++) cache.set('a', head('a', 20))
    cache.set('b', head('b', 11))
    expect(cache.get('a')).toBeDefined()
    cache.delete('a')
    cache.delete('a')
    cache.set('c', head('c', 20))
    expect(cache.get('b')).toBeDefined()
    cache.set('d', head('d', 0))
    expect(['b', 'c', 'd'].map((name) => cache.get(name) !== undefined)).toEqual([true, false, true])
  })

  it('weigh more with runs that were folded into their points', () => {
    const cache = new HeadCache(33)
    cache.set('a', head('a', 2))
    cache.set('b', head('b', 2, 12))
    expect([cache.get('a'), cache.get('b')].map((found) => found !== undefined)).toEqual([true, true])
    cache.set('c', head('c', 3))
    expect(cache.get('a')).toBeUndefined()
    cache.set('b', head('b', 2))
    cache.set('d', head('d', 20))
    expect(['b', 'c', 'd'].map((name) => cache.get(name) !== undefined)).toEqual([true, true, true])
  })

  it('include the newest one, however long it is, and it alone', () => {
    const cache = new HeadCache(33)
    cache.set('a', head('a', 1))
    cache.set('long', head('long', 1000))
    expect([cache.get('a'), cache.get('long')?.state.points.length]).toEqual([undefined, 1000])
    cache.set('a', head('a', 1))
    expect([cache.get('long'), cache.get('a')?.state.points.length]).toEqual([undefined, 1])
  })
})
