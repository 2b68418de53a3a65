import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { systemErrorCode } from '../../errors.js'

/*
 * The audit log is files audit-<number>.jsonl: one JSON object a line, oldest first; the file with the highest number is appended to.
 */

/** Where the audit log is, of a repository in a folder, unless the configuration says otherwise. */
export function auditFolderIn(repository: string): string {
  return join(repository, 'audit')
}

export function auditFile(folder: string, number: number): string {
  return join(folder, `audit-${String(number).padStart(6, '0')}.jsonl`)
}

/** Numbers of the files there are, oldest first. */
export async function auditNumbers(folder: string): Promise<number[]> {
  try {
    const numbers = (await readdir(folder)).map((name) => Number(/^audit-(\d{6,15})\.jsonl$/.exec(name)?.[1]))
    return numbers.filter((number) => Number.isSafeInteger(number)).sort((a, b) => a - b)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return []
    throw error
  }
}
