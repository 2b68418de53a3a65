/**
 * Memory is bounded by configuration, not by the disk's size. EVERFOLD_TEST_DISK_GIB sets the size of the sparse disk (default 1;
 * with 64, of which 1 GiB is data, backup peaks at some 280 MB).
 */

import { once } from 'node:events'
import { open, readFile, rm, truncate } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { MIB, noise } from './disk-bytes.js'
import { start } from './everfold.js'
import { Workspace } from './workspace.js'

const DISK_BYTES = Number(process.env['EVERFOLD_TEST_DISK_GIB'] ?? 1) * 1024 * MIB
const PEAK_BYTES_MAX = 500e6

/** Runs a command. @returns the most memory that it ever had (Linux) */
async function peakOf(at: Workspace, ...args: readonly string[]): Promise<number> {
  const child = start(args, at.options)
  child.stdout?.resume()
  const exit = once(child, 'exit')
  let peak = 0
  while (child.exitCode === null && child.signalCode === null) {
    const status = await readFile(`/proc/${child.pid}/status`, 'utf8').catch(() => '')
    peak = Math.max(peak, 1024 * Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0))
    await Promise.race([sleep(20), exit])
  }
  expect(child.exitCode).toBe(0)
  return peak
}

describe('a disk that is much larger than memory may be', () => {
  it.each(['4K', '64K', '4M'])(
    'is backed up, verified and restored within 500 MB, in chunks of %s',
    async (size) => {
      const at = await Workspace.make(['--chunk-size', size])
      await at.write('disk', '')
      await truncate(at.path('disk'), DISK_BYTES)
      const file = await open(at.path('disk'), 'r+')
      for (let i = 0; i < 16; i++)
        await file.write(noise(`${i}`, 16 * MIB), 0, 16 * MIB, Math.floor(i * (DISK_BYTES / 16)))
      await file.close()
      for (const args of [['backup', 'm', 'vda=disk'], ['verify'], ['restore', 'm', 'latest', 'vda=out']]) {
        const peak = await peakOf(at, ...args)
        expect(peak, args[0]).toBeGreaterThan(40e6)
        expect(peak, args[0]).toBeLessThan(PEAK_BYTES_MAX)
        if (process.env['EVERFOLD_TEST_DISK_GIB'] !== undefined)
          console.log(`${size} ${args[0]}: ${Math.round(peak / 1e6)} MB`)
      }
      await rm(at.path('out'))
      await at.remove()
    },
  )
})
