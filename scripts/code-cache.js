// Keeps what V8 compiled of the program while commands ran that are to start fast: node scripts/code-cache.js PROGRAM
// The functions that they call are in the cache then, and need not be compiled when they are called for the first time.
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { Script } from 'node:vm'

const path = process.argv[2]
const folder = mkdtempSync(join(tmpdir(), 'everfold-build-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))

// Collecting garbage drops the code of functions that were not called for a while.
setFlagsFromString('--no-flush-bytecode')
const script = new Script(readFileSync(path, 'latin1'), { filename: path })
const program = script.runInThisContext()

const image = join(folder, 'disk.img')
const feed = join(folder, 'feed.json')
const bytes = randomBytes(4 << 20)
/** Changes a third of each block of 64 KiB in some. */
function change() {
  for (let at = 0; at < bytes.length; at += 8 << 16) randomBytes(20_000).copy(bytes, at)
  writeFileSync(image, bytes)
}
const extents = []
for (let offset = 0; offset < bytes.length; offset += 8 << 16) extents.push({ offset, length: 1 << 16 })
writeFileSync(feed, JSON.stringify(extents))
change()

const repo = ['--repo', join(folder, 'repository')]
const backup = ['backup', 'machine', `disk=${image}`, ...repo, '--json']
const commands = [
  ['init', repo[1]],
  backup,
  [...backup, '--changed', `disk=${feed}`],
  ['restore', 'machine', 'latest', `disk=${join(folder, 'restored.img')}`, ...repo, '--json'],
  ['points', 'machine', ...repo, '--json'],
]

let running = ''
process.stdout.write = () => true
// The program's last command is done when nothing is left to do.
process.on('beforeExit', () => {
  if (process.exitCode) throw new Error(`everfold ${running} failed while the code cache was being made`)
  const next = commands.shift()
  if (next === undefined) {
    // V8 takes a cache only if its flags are as they were.
    setFlagsFromString('--flush-bytecode')
    writeFileSync(`${path}.cache`, script.createCachedData())
    process.exit()
  }
  change()
  running = next.join(' ')
  process.argv = [process.argv[0], join(dirname(path), 'everfold.js'), ...next]
  program(createRequire(path), path, dirname(path))
})
