import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile, rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { probing } from './engine-loop.js'
import type { LoopFigures } from './loop-probe.js'
import { everfoldMain } from './paths.js'

/** What is kept of its log, in characters: its beginning says how to reach it. */
const logMax = 64 * 1024

/** `everfold serve` on a repository that nobody has tokens for yet. */
export interface ServiceProcess {
  readonly child: ChildProcess
  readonly url: string
  /** For an admin. */
  readonly token: string
  readonly startSeconds: number
  /** Where a probe in it writes what it saw. */
  readonly probe: string | undefined
}

/**
 * Starts it on a free port. It ends with this process.
 * @param probe  a file that is not there: then {@link loopOf} tells
 */
export async function startService(repository: string, probe?: string): Promise<ServiceProcess> {
  const startMs = performance.now()
  const args = [everfoldMain, 'serve', '--repo', repository, '--listen', '127.0.0.1:0']
  const env = { ...process.env, ...(probe !== undefined && probing(probe)) }
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], env })
  const stop = (): boolean => child.kill('SIGKILL')
  process.once('exit', stop)
  child.once('exit', () => process.off('exit', stop))
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (stderr.length < logMax) stderr += text
  })
  while (!stdout.includes('\n')) {
    if (child.exitCode !== null) throw new Error(`everfold serve did not start: ${stderr}`)
    await sleep(5)
  }
  const startSeconds = (performance.now() - startMs) / 1000
  const [, url = ''] = /listens on (\S+)/.exec(stdout) ?? []
  const [, token = ''] = /admin token: (\S+)/.exec(stderr) ?? []
  return { child, url, token, startSeconds, probe }
}

/** What kept its main thread busy since it was asked the last time; undefined if it was started without a probe. */
export async function loopOf({ child, probe }: ServiceProcess): Promise<LoopFigures | undefined> {
  if (probe === undefined) return undefined
  await rm(probe, { force: true })
  child.kill('SIGUSR2')
  while (!existsSync(probe)) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error('everfold serve has ended')
    await sleep(5)
  }
  return JSON.parse(await readFile(probe, 'utf8')) as LoopFigures
}

/** Has it stop by itself. @throws Error if it did not end well */
export async function stopService({ child }: ServiceProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill('SIGTERM')
    await once(child, 'exit')
  }
  if (child.exitCode !== 0)
    throw new Error(`everfold serve ended with ${child.exitCode ?? child.signalCode ?? '?'}`)
}
