import { randomBytes } from 'node:crypto'
import { readFile, readlink } from 'node:fs/promises'
import { hostname } from 'node:os'
import * as z from 'zod'

const claimBody = z.strictObject({
  pid: z.number().int(),
  host: z.string(),
  command: z.string(),
  /** ISO 8601. */
  since: z.string(),
  /** The process, of all that ever were anywhere (see markOf): empty where that is not known. */
  process: z.string(),
  /** Renewals. */
  beat: z.number().int(),
  /** 16 random hex digits: tells this claim from one of the same epoch in a copy of the bucket. */
  nonce: z.string().regex(/^[0-9a-f]{16}$/u),
})

/** Who holds a repository in a bucket. */
export type ClaimBody = z.infer<typeof claimBody>

export async function thisProcess(command: string): Promise<ClaimBody> {
  const { pid } = process
  const since = new Date().toISOString()
  const nonce = randomBytes(8).toString('hex')
  return { pid, host: hostname(), command, since, process: (await markOf(pid)) ?? '', beat: 0, nonce }
}

/**
 * The start of this machine, the processes that a pid counts among, and when this one began: no other ever has the same. Linux only:
 * elsewhere a dead holder is waited for.
 * @returns undefined if there is no such process, or nobody says
 */
async function markOf(pid: number): Promise<string | undefined> {
  try {
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8')
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    // proc_pid_stat(5): the 22nd field; the second, in brackets, may hold anything.
    const began = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
    return `${boot.trim()} ${await readlink('/proc/self/ns/pid')} ${began}`
  } catch {
    return undefined
  }
}

/** Is the process that wrote it at work, dead, or out of sight? */
export async function stateOf({ pid, process: mark }: ClaimBody): Promise<'alive' | 'dead' | 'elsewhere'> {
  const [here, there] = [await markOf(process.pid), mark]
  // All but the last word says which machine, since when, and which processes.
  if (here === undefined || withoutLast(here) !== withoutLast(there)) return 'elsewhere'
  return (await markOf(pid)) === mark ? 'alive' : 'dead'
}

function withoutLast(mark: string): string {
  return mark.slice(0, mark.lastIndexOf(' '))
}

export function encodeClaim(body: ClaimBody): Uint8Array {
  return Buffer.from(`${JSON.stringify(body)}\n`)
}

export function decodeClaim(text: string): ClaimBody | undefined {
  try {
    return claimBody.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}
