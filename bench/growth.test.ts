import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { parseGrowthOptions, runGrowth } from './growth.js'
import { describeExponent, exponentOf, sizesUpTo } from './growth-curve.js'

it('says what a curve is from its larger sizes', () => {
  const curve = (cost: (size: number) => number) =>
    [1, 10, 100, 1000, 10_000].map((at) => ({ name: `${at}`, at, figures: { cost: cost(at) } }))
  expect(
    describeExponent(
      exponentOf(
        curve(() => 3),
        'cost',
      ),
    ),
  ).toBe('flat (size^0.00)')
  expect(
    describeExponent(
      exponentOf(
        curve((size) => 2 * size),
        'cost',
      ),
    ),
  ).toMatch('proportional')
  // What is constant at first does not hide it.
  expect(
    describeExponent(
      exponentOf(
        curve((size) => 50 + size),
        'cost',
      ),
    ),
  ).toMatch('proportional')
  expect(describeExponent(exponentOf(curve(Math.sqrt), 'cost'))).toMatch('slower than the size')
  expect(
    describeExponent(
      exponentOf(
        curve((size) => size ** 1.5),
        'cost',
      ),
    ),
  ).toMatch('faster than the size')
  expect(
    describeExponent(
      exponentOf(
        curve((size) => 1 / size),
        'cost',
      ),
    ),
  ).toMatch('falls')
  expect(
    describeExponent(
      exponentOf(
        curve(() => 0),
        'cost',
      ),
    ),
  ).toBe('not known')
  expect(sizesUpTo(1000)).toEqual([10, 20, 50, 100, 200, 500, 1000])
})

it('draws every curve, at sizes that prove no more than that it can', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'everfold-bench-test.'))
  try {
    const sizes = [
      '--chunks',
      '4000',
      '--parent',
      '8000',
      '--tib',
      '1,2',
      '--machines',
      '1,3',
      '--points',
      '2',
    ]
    const load = ['--clients', '1,2', '--load-seconds', '0.3', '--rounds', '1', '--results', folder]
    const options = { ...parseGrowthOptions([...sizes, ...load]), packsPerTib: 50 }
    await runGrowth(options, { cache: folder, scratch: folder })
    const names = ['index', 'fold-child', 'fold-parent', 'fold-chain', 'mark', 'start', 'clients']
    for (const name of names) {
      const { samples } = JSON.parse(readFileSync(join(folder, `growth-${name}.json`), 'utf8'))
      expect(samples.length).toBeGreaterThan(1)
      for (const { name: size, ...figures } of samples)
        expect(
          Object.values(figures).every((figure) => typeof figure === 'number'),
          size,
        ).toBe(true)
      expect(readFileSync(join(folder, `growth-${name}.svg`), 'utf8')).toMatch(
        /^<svg[^]*<polyline[^]*<\/svg>\n$/,
      )
    }
    expect(() => parseGrowthOptions(['--curves', 'bell'])).toThrow('"bell"')
  } finally {
    rmSync(folder, { recursive: true })
  }
}, 60_000)
