/** How points are asked for. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noise } from './disk-bytes.js'
import type { Json } from './everfold.js'
import { Workspace } from './workspace.js'

let at: Workspace
let points: { readonly id: string; readonly createdAt: string; readonly bytes: Buffer }[]

beforeAll(async () => {
  at = await Workspace.make()
  points = []
  // Until two ids begin alike: 36 characters, so some eight points on average, and 37 for certain.
  while (new Set(points.map(({ id }) => id[0])).size === points.length || points.length < 3) {
    const bytes = noise(`point ${points.length}`, 1000)
    await at.write('disk', bytes)
    const { point, createdAt } = await at.ok('backup', 'm', 'vda=disk')
    points.push({ id: point, createdAt, bytes })
  }
})
afterAll(() => at.remove())

describe('a point', () => {
  it('is found by latest, parent, its id in any case, and each time it is the same', async () => {
    await at.expectDisk('m', 'latest', points.at(-1)!.bytes)
    await at.expectDisk('m', 'parent', points[0]!.bytes)
    await at.expectDisk('m', points[1]!.id, points[1]!.bytes)
    await at.expectDisk('m', points[1]!.id.toUpperCase(), points[1]!.bytes)
    const listed = await at.ok('points', 'm')
    expect(listed.map((point: Json) => point.point)).toEqual(points.map(({ id }) => id))
    expect(listed.map((point: Json) => point.kind)).toEqual(
      points.map((_, i) => (i === 0 ? 'full' : 'incremental')),
    )
  })

  it('is the newest at or before a time', async () => {
    const second = Date.parse(points[1]!.createdAt)
    await at.expectDisk('m', points[1]!.createdAt, points[1]!.bytes)
    await at.expectDisk('m', new Date(second - 1).toISOString(), points[0]!.bytes)
    await at.expectDisk('m', '2999-01-01', points.at(-1)!.bytes)
    const inAnotherZone = new Date(second + 3_600_000).toISOString().replace('Z', '+01:00')
    await at.expectDisk('m', inAnotherZone, points[1]!.bytes)
  })

  it('is found by a unique prefix; one that is not unique names those that it could be', async () => {
    const alike = points.filter((point) =>
      points.some((other) => other !== point && other.id[0] === point.id[0]),
    )
    const { details } = await at.fails('POINT_AMBIGUOUS', 'restore', 'm', alike[0]!.id[0]!, 'vda=out')
    expect(details.points).toEqual(alike.map(({ id }) => id))
    await at.expectDisk('m', alike[0]!.id.slice(0, 6), alike[0]!.bytes)
  })
})

describe('names of machines and disks', () => {
  it.each(['Büro 3', '数据库', 'web+1 (old)', "o'brien", '100%', 'MixedCase', '🐧'])(
    'may be %s',
    async (name) => {
      await at.ok('backup', name, `${name}=disk`)
      await at.expectDisk(name.normalize('NFD'), 'latest', points.at(-1)!.bytes, name)
      expect(await at.ok('points', name)).toMatchObject([{ machine: name, disks: [{ id: name }] }])
    },
  )
})
