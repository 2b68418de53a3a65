/** Ends the real command in the middle: SIGKILL to its whole process group. */

import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { type RunOptions, start } from './everfold.js'

/**
 * Starts a command and kills it after so many milliseconds, counted from when `begun` is there if that is given.
 * @param begun  path of a file that the command makes
 * @returns whether it had succeeded before
 */
export async function killed(
  options: RunOptions,
  when: number | { readonly afterMs: number; readonly begun: string },
  ...args: readonly string[]
): Promise<boolean> {
  const child = start(args, options)
  const exit = once(child, 'exit')
  const { afterMs, begun } = typeof when === 'number' ? { afterMs: when, begun: undefined } : when
  while (begun !== undefined && !existsSync(begun) && child.exitCode === null) await sleep(1)
  await Promise.race([sleep(afterMs), exit])
  try {
    process.kill(-child.pid!, 'SIGKILL')
  } catch (error) {
    expect(error).toMatchObject({ code: 'ESRCH' })
  }
  const [status, signal] = await exit
  // Neither done nor killed: it failed by itself.
  if (signal !== 'SIGKILL') expect(status, args.join(' ')).toBe(0)
  return status === 0
}

/** Milliseconds that an undisturbed run takes: what moments to choose from. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await work()
  return performance.now() - begun
}
