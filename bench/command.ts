import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { repositoryRoot } from './paths.js'

/** One program to run, without a shell. */
export interface Command {
  readonly program: string
  readonly args: readonly string[]
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
}

export interface CommandOutput {
  readonly stdout: string
  readonly stderr: string
}

/** Debian keeps mke2fs, debugfs and e2fsck where only root's PATH looks. */
const searchPath = `${process.env['PATH'] ?? '/usr/bin:/bin'}:/usr/sbin:/sbin`

/** What of a failed program's output is shown, in characters. */
const shownOutputMax = 2000

function failure(command: Command, how: string, output: string): Error {
  const line = [command.program, ...command.args].join(' ')
  return new Error(`${how}: ${line}\n${output.trim().slice(-shownOutputMax)}`)
}

/** Makes signals end this process through its exit handlers, with the status that shells give. */
export function exitOnSignals(): void {
  const statuses = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => process.exit(statuses[signal]))
  }
}

/**
 * Runs a program to its end. If this process exits earlier, the program and all that it started are ended.
 *
 * @throws Error with the command line and the end of what it printed, if it cannot be started or exits non-zero.
 */
export async function run(command: Command): Promise<CommandOutput> {
  return await new Promise((resolve, reject) => {
    const child = spawn(command.program, command.args, {
      cwd: command.cwd,
      env: { ...process.env, PATH: searchPath, LC_ALL: 'C.UTF-8', ...command.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true, // a process group of its own, to be ended as one
    })
    const stop = (): void => {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    }
    process.prependOnceListener('exit', stop)
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.once('error', (error) => {
      process.off('exit', stop)
      reject(failure(command, 'Cannot be started', error.message))
    })
    child.once('close', (status, signal) => {
      process.off('exit', stop)
      if (status === 0) resolve({ stdout, stderr })
      else reject(failure(command, `Failed (${signal ?? `exit status ${status ?? '?'}`})`, stderr || stdout))
    })
  })
}

/**
 * Installs the Debian packages whose command is missing.
 *
 * @param packages  Pairs `package:command`.
 */
export async function ensurePackages(packages: readonly string[]): Promise<void> {
  await run({ program: join(repositoryRoot, 'scripts/prepare'), args: ['--packages', ...packages] })
}
