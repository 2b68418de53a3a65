import type { IncomingMessage } from 'node:http'
import { expect, it } from 'vitest'
import { DiskPaths } from './disk-path.js'

const asked = (url: string, method = 'GET'): Pick<IncomingMessage, 'url' | 'method'> => ({ url, method })

it('knows what a disk is read at, and remembers it', () => {
  const paths = new DiskPaths()
  const url = '/v1/machines/caf%C3%A9/points/latest/disks/vda/raw'
  const params = paths.paramsOf(asked(url))
  expect(params).toEqual({ machine: 'café', point: 'latest', disk: 'vda' })
  expect(paths.paramsOf(asked(url))).toBe(params)
  for (let i = 0; i < 100; i++) paths.paramsOf(asked(`/v1/machines/m${i}/points/latest/disks/vda/raw`))
  expect(paths.paramsOf(asked(url))).toEqual(params)
  expect(paths.paramsOf(asked(url))).not.toBe(params)
})

it.each([
  '/v1/machines/m/points/latest/disks/vda/raw?x=1',
  '/v1/machines/m/points/latest/disks/vda/raw/',
  '/v1/machines/m/points/latest/disks/%FF/raw',
  '/v1/machines/m%00/points/latest/disks/vda/raw',
  `/v1/machines/m/points/${'p'.repeat(65)}/disks/vda/raw`,
  '/v1/machines/m/points/latest/disks/vda/extents',
])('leaves %s to Express', (url) => {
  expect(new DiskPaths().paramsOf(asked(url))).toBeUndefined()
})

it('leaves what is no GET to Express', () => {
  const url = '/v1/machines/m/points/latest/disks/vda/raw'
  expect(new DiskPaths().paramsOf(asked(url, 'HEAD'))).toBeUndefined()
})
