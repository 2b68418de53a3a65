import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { TestProject } from 'vitest/node'

/** Tests that want an S3-compatible server share one, see s3-service.ts. The first starts it; here it is stopped. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const parent = await mkdtemp(join(tmpdir(), 'everfold-s3-'))
  const folder = join(parent, 'server')
  project.provide('s3Folder', folder)
  return async () => {
    await promisify(execFile)(join(import.meta.dirname, '../scripts/s3-server'), ['stop', folder])
    await rm(parent, { recursive: true })
  }
}
