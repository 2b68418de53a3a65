import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { useS3Service } from '../test/s3-service.js'
import { parseS3Options, runS3 } from './s3.js'
import type { ProxyFigures } from './s3-proxy.js'

/** How often a process that changes something says that it lives: one request to write, and one to look. */
const HEARTBEAT_SECONDS = 20

it('the benchmark of a bucket runs from the first request to the results file', async () => {
  expect(() => parseS3Options(['--points', '0'])).toThrow('--points')
  await useS3Service()
  const folder = mkdtempSync(join(tmpdir(), 'everfold-bench-test.'))
  const line = ['--round-trip-ms', '1', '--mbit', '10000']
  await runS3(parseS3Options(['--size-mib', '30', '--points', '3', ...line, '--results', folder]), {
    cache: folder,
    scratch: folder,
  })
  const { steps, bars } = JSON.parse(readFileSync(join(folder, 's3.json'), 'utf8'))
  const incremental: ProxyFigures & { readonly seconds: number } = steps.find(
    ({ name }: { name: string }) => name === 'incremental of 25 MiB',
  )
  const { get, put, list, other, seconds } = incremental
  const heartbeats = 2 * Math.floor(seconds / HEARTBEAT_SECONDS)
  expect(get + put + list + incremental.delete + other).toBeLessThanOrEqual(12 + heartbeats)
  expect(incremental.bytesUp).toBeGreaterThan(25 * 1024 * 1024)
  expect(bars).toHaveLength(4)
  rmSync(folder, { recursive: true })
}, 300_000)
