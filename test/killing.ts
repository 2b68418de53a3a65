/** Ends the real command in the middle: SIGKILL to its whole process group. */

import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { type RunOptions, start } from './everfold.js'

/** Starts a command and kills it after so many milliseconds. @returns whether it had succeeded before */
export async function killed(
  options: RunOptions,
  afterMs: number,
  ...args: readonly string[]
): Promise<boolean> {
  return killIn(start(args, options), afterMs, args)
}

/**
 * Starts a command and kills it so many milliseconds after the file `holder` is there, which it has while the repository is open to it.
 * @returns whether it had succeeded before, whether it had the repository open when it was killed, and for how long it ran with it
 */
export async function killedInside(
  options: RunOptions,
  afterMs: number,
  holder: string,
  ...args: readonly string[]
): Promise<{ readonly ended: boolean; readonly isInside: boolean; readonly insideMs: number }> {
  // Left behind by one that was killed before.
  await rm(holder, { force: true })
  const child = start(args, options)
  const exit = once(child, 'exit')
  while (!existsSync(holder) && child.exitCode === null) await sleep(1)
  const begun = performance.now()
  const ended = await killIn(child, afterMs, args, exit)
  return { ended, isInside: !ended && existsSync(holder), insideMs: performance.now() - begun }
}

async function killIn(
  child: ChildProcess,
  afterMs: number,
  args: readonly string[],
  exit = once(child, 'exit'),
): Promise<boolean> {
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
