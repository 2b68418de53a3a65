import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { realFileSystem } from './file-system.js'
import { OpenFiles } from './open-files.js'

let folder: string
const path = (name: string): string => join(folder, name)

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'everfold-open-files-'))
  for (const name of ['a', 'b', 'c']) await writeFile(path(name), name)
})
afterEach(() => rm(folder, { recursive: true, force: true }))

it('keeps a file open that is held, though it is removed and others come', async () => {
  const files = new OpenFiles(realFileSystem, 1)
  const held = await files.hold(path('a'))
  await rm(path('a'))
  await files.drop(path('a'))
  for (const name of ['b', 'c']) await files.use(path(name), () => Promise.resolve())
  const into = Buffer.alloc(1)
  await held.file.read(into, 0, 1, 0)
  expect(into.toString()).toBe('a')
  await held.release()
  await expect(held.file.read(into, 0, 1, 0)).rejects.toThrow()
  await expect(files.hold(path('a'))).rejects.toMatchObject({ code: 'ENOENT' })
  await files.close()
})

it('gives a file at once that is open, and closes it when it is given back after it was removed', async () => {
  const files = new OpenFiles(realFileSystem, 2)
  const first = await files.hold(path('a'))
  const again = files.hold(path('a'))
  if (again instanceof Promise) throw new Error('it was open')
  await files.drop(path('a'))
  expect(first.release()).toBeUndefined()
  await again.release()
  await expect(again.file.read(Buffer.alloc(1), 0, 1, 0)).rejects.toThrow()
  await files.close()
})
