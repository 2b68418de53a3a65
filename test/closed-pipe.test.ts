import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { ended, start } from './everfold.js'

it.each([
  ['help', ['--help']],
  ['a result', ['init']],
  ['a document', ['init', '--json']],
])('does not fail, or complain, when nobody reads on: %s', async (_, args) => {
  const folder = mkdtempSync(join(tmpdir(), 'everfold-pipe.'))
  try {
    const child = start(args, { env: { EVERFOLD_REPO: join(folder, 'repository') } })
    // As `everfold … | head` does.
    child.stdout?.destroy()
    const { status, stderr } = await ended(child)
    expect(stderr).toBe('')
    expect(status).toBe(0)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

it('ends as its work did when nobody reads its complaints', async () => {
  const child = start(['points', '--repo', '/nowhere'])
  child.stderr?.destroy()
  expect((await ended(child)).status).toBe(3)
})
