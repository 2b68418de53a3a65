/** Ends the real command in the middle: SIGKILL to its whole process group. */

import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { type RunOptions, start } from './everfold.js'

/** Starts a command and kills it after so many milliseconds. @returns whether it had succeeded before */
export async function killed(
  options: RunOptions,
  afterMs: number,
  ...args: readonly string[]
): Promise<boolean> {
  const child = start(args, options)
  const exit = once(child, 'exit')
  await Promise.race([sleep(afterMs), exit])
  try {
    process.kill(-child.pid!, 'SIGKILL')
  } catch (error) {
    expect(error).toMatchObject({ code: 'ESRCH' })
  }
  const [status] = await exit
  return status === 0
}

/** Milliseconds that an undisturbed run takes: what moments to choose from. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await work()
  return performance.now() - begun
}
