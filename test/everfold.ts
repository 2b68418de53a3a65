/** The real command in real processes: how the tests in this folder start `everfold`, and what they expect of any run. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import type { ErrorCode } from '../src/errors.js'
import { ERROR_CLASSES } from '../src/errors.js'

/** The built command; EVERFOLD_MAIN names another build to be tested. */
export const MAIN =
  process.env['EVERFOLD_MAIN'] ?? fileURLToPath(new URL('../dist/bin/everfold.js', import.meta.url))
if (!existsSync(MAIN)) throw new Error(`${MAIN} is missing: these tests run the built command. npm run build`)

/** Whatever a JSON document holds: expectations look at it, not the type checker. */
export type Json = ReturnType<typeof JSON.parse>

export interface Run {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string | undefined>>
  /** A program that starts the command, such as `['nice']`. */
  readonly through?: readonly string[]
}

/** Starts the command in a process group of its own, without waiting for it. */
export function start(args: readonly string[], options: RunOptions = {}): ChildProcess {
  const [program = '', ...rest] = [...(options.through ?? []), process.execPath, MAIN, ...args]
  return spawn(program, rest, {
    cwd: options.cwd,
    env: { ...process.env, EVERFOLD_REPO: undefined, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
}

/** What a started command printed and how it ended. */
export async function ended(child: ChildProcess): Promise<Run> {
  let stdout = ''
  let stderr = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const [status, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  return { status, signal, stdout, stderr }
}

/** Runs the command to its end. */
export async function everfold(args: readonly string[], options: RunOptions = {}): Promise<Run> {
  return ended(start(args, options))
}

/**
 * The JSON document that it printed.
 * @param reviver  as for JSON.parse
 */
export function printed(run: Run, reviver?: (key: string, value: unknown) => unknown): Json {
  try {
    return JSON.parse(run.stdout, reviver)
  } catch (cause) {
    throw new Error(`no JSON document was printed: ${JSON.stringify(run)}`, { cause })
  }
}

/** Runs it with --json, expects success and one JSON document on standard output, and returns that. */
export async function succeed(args: readonly string[], options: RunOptions = {}): Promise<Json> {
  const run = await everfold([...args, '--json'], options)
  expect(run, `everfold ${args.join(' ')}\n${run.stdout}`).toMatchObject({ status: 0, stderr: '' })
  return printed(run)
}

export interface Failure {
  readonly code: ErrorCode
  readonly message: string
  readonly details: Json
}

/**
 * Runs it with --json and expects it to fail with this code: the code's exit status, one JSON document that says so on
 * standard output, and one line for people on standard error.
 */
export async function fail(
  code: ErrorCode,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Failure> {
  return failed(code, await everfold([...args, '--json'], options))
}

/** The same for a run that ended already. */
export function failed(code: ErrorCode, run: Run): Failure {
  const all = JSON.stringify(run)
  expect(run.stderr, all).toMatch(new RegExp(`^everfold: .*\\[${code}\\]\\n$`))
  const { error } = printed(run)
  expect(error.code, all).toBe(code)
  expect(run.status, all).toBe(ERROR_CLASSES[code].exit)
  expect(error.message, all).toMatch(/\S/)
  return error
}
