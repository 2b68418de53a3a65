import { readFile, readlink } from 'node:fs/promises'
import { hostname } from 'node:os'
import { z } from 'zod'
import { systemErrorCode } from '../errors.js'

const claimBody = z.strictObject({
  pid: z.number().int(),
  host: z.string(),
  command: z.string(),
  /** ISO 8601. */
  since: z.string(),
  /** This start of this machine, and the processes that its pid counts among: empty where that is not known. */
  machine: z.string(),
  /** Renewals. */
  beat: z.number().int(),
})

/** Who holds a repository in a bucket. */
export type ClaimBody = z.infer<typeof claimBody>

export async function thisProcess(command: string): Promise<ClaimBody> {
  const since = new Date().toISOString()
  return { pid: process.pid, host: hostname(), command, since, machine: await thisMachine(), beat: 0 }
}

/** Linux only: elsewhere a dead holder is waited for. */
async function thisMachine(): Promise<string> {
  try {
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8')
    return `${boot.trim()} ${await readlink('/proc/self/ns/pid')}`
  } catch {
    return ''
  }
}

/** Did it run here, and is it gone? A pid that serves another process by now counts as alive. */
export async function isDead(body: ClaimBody): Promise<boolean> {
  if (body.machine === '' || body.machine !== (await thisMachine()) || body.host !== hostname()) return false
  try {
    process.kill(body.pid, 0)
    return false
  } catch (error) {
    return systemErrorCode(error) === 'ESRCH'
  }
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
