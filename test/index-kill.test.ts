/** The end of the process at any moment, and of the disk's space, leave an index that opens and tells the truth. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

import { ModuleKind, ScriptTarget, transpileModule } from 'typescript'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { LevelIndex } from '../src/index/level-index.js'
import { answers, hashesOf, packOf } from './contracts/index-contract.js'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const CHUNKS = 40

/** Adds packs from `first` on for ever, and removes every third at once; says so on standard output, line by line. */
const CHILD = `
import { writeSync } from 'node:fs'
import { sha256, sha256Hex } from './checksum.js'
import { LevelIndex } from './index/level-index.js'
const index = await LevelIndex.open(process.argv[2], { writeBufferBytes: 64 << 10 })
for (let pack = Number(process.argv[3]); ; pack++) {
  const id = sha256Hex(Buffer.from('pack ' + pack))
  const hashes = Buffer.concat(Array.from({ length: ${CHUNKS} }, (_, i) => sha256(Buffer.from('chunk ' + (pack * ${CHUNKS} + i)))))
  await index.addPack(id, hashes)
  writeSync(1, 'added ' + pack + '\\n')
  if (pack % 3 !== 0) continue
  writeSync(1, 'removing ' + pack + '\\n')
  await index.removeChunks(id, hashes)
  writeSync(1, 'removed ' + pack + '\\n')
}
`

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'everfold-kill-'))
  await mkdir(join(folder, 'index'))
  for (const part of ['.', 'index']) {
    for (const name of await readdir(join(ROOT, 'src', part))) {
      if (!name.endsWith('.ts') || name.endsWith('.test.ts')) continue
      const source = await readFile(join(ROOT, 'src', part, name), 'utf8')
      const options = { module: ModuleKind.ESNext, target: ScriptTarget.ES2022 }
      const { outputText } = transpileModule(source, { compilerOptions: options })
      await writeFile(join(folder, part, name.replace(/\.ts$/, '.js')), outputText)
    }
  }
  await writeFile(join(folder, 'package.json'), '{"type":"module"}')
  await writeFile(join(folder, 'child.js'), CHILD)
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
})
afterAll(async () => {
  await rm(folder, { recursive: true })
})

describe('an index whose process is killed', () => {
  it('opens again, knows what was added, and does not know what was removed', async () => {
    const path = join(folder, 'killed')
    const added = new Set<number>()
    const removing = new Set<number>()
    const removed = new Set<number>()
    let next = 0
    for (let life = 0; life < 12; life++) {
      const child = spawn(process.execPath, [join(folder, 'child.js'), path, String(next)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const exit = once(child, 'exit')
      const packsBefore = 1 + ((life * 37) % 150)
      for await (const line of createInterface({ input: child.stdout })) {
        const [verb, number] = line.split(' ')
        const pack = Number(number)
        if (verb === 'added') added.add(pack)
        else if (verb === 'removing') removing.add(pack)
        else removed.add(pack)
        next = pack + 2
        if (verb === 'added' && added.size % packsBefore === 0) child.kill('SIGKILL')
      }
      expect(await exit).toEqual([null, 'SIGKILL'])

      const index = await LevelIndex.open(path)
      for (const pack of added) {
        const chunks = Array.from({ length: CHUNKS }, (_, i) => pack * CHUNKS + i)
        const found = await answers(index, hashesOf(...chunks))
        const whole = chunks.map((_, i) => [packOf(pack), i])
        const none = chunks.map(() => undefined)
        if (removed.has(pack)) expect(found).toEqual(none)
        else if (!removing.has(pack)) expect(found).toEqual(whole)
        // One that was being removed: all or nothing.
        else expect([whole, none]).toContainEqual(found)
      }
      await index.close()
    }
    expect(added.size).toBeGreaterThan(200)
  }, 120_000)
})
