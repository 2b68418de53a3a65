/** Bad input: a stable code and exit status, a message that says what to do, and not a byte of the repository changed. */

import { execFileSync } from 'node:child_process'
import { mkdir, readFile, truncate, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { REPOSITORY_FORMAT_VERSION } from '../src/chain/config.js'
import type { ErrorCode } from '../src/errors.js'
import { KIB, MIB, noise } from './disk-bytes.js'
import { ended, everfold, failed, start } from './everfold.js'
import { writeThinFile } from './thin-file.js'
import { Workspace } from './workspace.js'

const SIZE = 300 * KIB + 1

let at: Workspace
let before: string[]

beforeAll(async () => {
  at = await Workspace.make()
  await at.write('disk', noise('disk', SIZE))
  await at.ok('backup', 'm', 'vda=disk')
  execFileSync('mkfifo', [at.path('pipe')])
  before = await at.listing()
})
afterEach(async () => {
  expect(await at.listing()).toEqual(before)
})
afterAll(() => at.remove())

/** Name, code, what the message says, arguments. */
type Case = readonly [string, ErrorCode, RegExp, ...string[]]

const WRONG: readonly Case[] = [
  [
    'a folder that is not there',
    'REPOSITORY_NOT_FOUND',
    /no folder .*Check the path/,
    'points',
    '--repo',
    'nowhere',
  ],
  ['a folder that is no repository', 'REPOSITORY_NOT_FOUND', /everfold init/, 'points', '--repo', '/tmp'],
  ['a file for a repository', 'REPOSITORY_NOT_FOUND', /not a folder/, 'points', '--repo', 'disk'],
  ['a URL of no bucket', 'ARGUMENT_INVALID', /s3:\/\/BUCKET/, 'points', '--repo', 'ftp://host/x'],
  ['a repository that is one already', 'REPOSITORY_EXISTS', /already/, 'init', 'repo'],
  ['an unknown machine', 'MACHINE_UNKNOWN', /everfold points/, 'restore', 'nobody', 'latest', 'vda=out'],
  ['points of an unknown machine', 'MACHINE_UNKNOWN', /everfold points/, 'points', 'nobody'],
  ['an unknown point', 'POINT_UNKNOWN', /everfold points m/, 'restore', 'm', 'zzzzzzzz', 'vda=out'],
  ['an empty point', 'POINT_UNKNOWN', /everfold points m/, 'restore', 'm', '', 'vda=out'],
  [
    'a time before all points',
    'POINT_UNKNOWN',
    /everfold points m/,
    'restore',
    'm',
    '2001-01-01T00:00:00Z',
    'vda=out',
  ],
  ['a time that is none', 'ARGUMENT_INVALID', /Write it like/, 'restore', 'm', '2026-99-99', 'vda=out'],
  [
    'no round of a collection',
    'ARGUMENT_INVALID',
    /"-1" is not a whole number from 1 to 100/,
    'gc',
    '--rounds',
    '-1',
  ],
  [
    'no entry of the audit log',
    'ARGUMENT_INVALID',
    /"-1" is not a whole number from 1 to 10000/,
    'audit',
    '--limit',
    '-1',
  ],
  [
    'no day of a recall',
    'ARGUMENT_INVALID',
    /"-1" is not a whole number from 1 to \d+/,
    'restore',
    'm',
    'latest',
    'vda=out',
    '--recall',
    '-1',
  ],
  ['an unknown disk', 'DISK_UNKNOWN', /it has: vda/, 'restore', 'm', 'latest', 'vdz=out'],
  ['a note of two lines', 'ARGUMENT_INVALID', /one line/, 'backup', 'm', 'vda=disk', '--note', 'a\nb'],
  ['a restore of no disk', 'ARGUMENT_INVALID', /at least one disk/, 'restore', 'm', 'latest'],
  ['a target without a name', 'ARGUMENT_INVALID', /DISK=OUT/, 'restore', 'm', 'latest', 'out'],
  [
    'one target for two disks',
    'ARGUMENT_INVALID',
    /Two disks/,
    'restore',
    'm',
    'latest',
    'vda=out',
    'vda=./out',
  ],
  [
    'a target in a folder that is not there',
    'TARGET_FAILED',
    /no\/such/,
    'restore',
    'm',
    'latest',
    'vda=no/such/out',
  ],
  ['a source that is missing', 'SOURCE_FAILED', /there is no such file/, 'backup', 'm', 'vda=nothing'],
  [
    'a source that is a folder',
    'SOURCE_FAILED',
    /neither a file nor a block device/,
    'backup',
    'm',
    'vda=repo',
  ],
  ['a source that is a pipe', 'SOURCE_FAILED', /neither/, 'backup', 'm', 'vda=pipe'],
  ['a source that is a character device', 'SOURCE_FAILED', /neither/, 'backup', 'm', 'vda=/dev/zero'],
  ['a disk without a path', 'ARGUMENT_INVALID', /DISK=PATH/, 'backup', 'm', 'vda'],
  ['a disk with an empty path', 'ARGUMENT_INVALID', /DISK=PATH/, 'backup', 'm', 'vda='],
  ['a disk with an empty name', 'ARGUMENT_INVALID', /DISK=PATH/, 'backup', 'm', '=disk'],
  ['a disk that is named twice', 'ARGUMENT_INVALID', /twice/, 'backup', 'm', 'vda=disk', 'vda=disk'],
  [
    'a feed of another disk',
    'ARGUMENT_INVALID',
    /not being backed up/,
    'backup',
    'm',
    'vda=disk',
    '--changed',
    'vdb=f',
  ],
  [
    'two feeds of one disk',
    'ARGUMENT_INVALID',
    /more than one/,
    'backup',
    'm',
    'vda=disk',
    '--changed',
    'vda=f',
    '--changed',
    'vda=f',
  ],
  [
    'a feed that is missing',
    'FEED_INVALID',
    /Cannot read the feed/,
    'backup',
    'm',
    'vda=disk',
    '--changed',
    'vda=nothing',
  ],
  [
    'a feed that is a folder',
    'FEED_INVALID',
    /Cannot read the feed/,
    'backup',
    'm',
    'vda=disk',
    '--changed',
    'vda=repo',
  ],
  [
    'another way of cutting',
    'ARGUMENT_INVALID',
    /since its first point/,
    'backup',
    'm',
    'vda=disk',
    '--chunker',
    'fixed',
  ],
  [
    'an unknown way of cutting',
    'ARGUMENT_INVALID',
    /fixed, cdc/,
    'backup',
    'm',
    'vda=disk',
    '--chunker',
    'fine',
  ],
  ['an unknown option', 'ARGUMENT_INVALID', /--fulll/, 'backup', 'm', 'vda=disk', '--fulll'],
  ['an unknown command', 'ARGUMENT_INVALID', /unknown command 'bakcup'/, 'bakcup', 'm', 'vda=disk'],
  ['too many arguments', 'ARGUMENT_INVALID', /too many arguments/, 'points', 'm', 'n'],
  [
    'a chunk size that is no power of two',
    'ARGUMENT_INVALID',
    /power of two/,
    'init',
    'new',
    '--chunk-size',
    '65K',
  ],
  ['a chunk size that is too small', 'ARGUMENT_INVALID', /4 ?K/, 'init', 'new', '--chunk-size', '2K'],
  ['a chunk size that is too large', 'ARGUMENT_INVALID', /4 ?M/, 'init', 'new', '--chunk-size', '8M'],
  ['a chunk size that is none', 'ARGUMENT_INVALID', /64K/, 'init', 'new', '--chunk-size', '-4K'],
  ['a level that is too high', 'ARGUMENT_INVALID', /0 to 19/, 'init', 'new', '--level', '20'],
  ...['0', '101%', '-5%', 'half', '5%%'].map(
    (share): Case => [`a sample of ${share}`, 'ARGUMENT_INVALID', /5%/, 'verify', `--sample=${share}`],
  ),
]

const NAMES: readonly (readonly [string, string])[] = [
  ['a slash', 'a/b'],
  ['a backslash', 'a\\b'],
  ['dots alone', '..'],
  ['a dot in front', '.hidden'],
  ['two dots', 'a..b'],
  ['a line break', 'a\nb'],
  ['an escape sequence', 'a\u001b[31m'],
  ['an invisible character', 'a\u200bb'],
  ['a direction override', 'a\u202eb'],
  ['white space around', ' a'],
  ['300 characters', 'x'.repeat(300)],
  ['nothing', ''],
]

const FEEDS: readonly (readonly [string, ErrorCode, string])[] = [
  ['no JSON', 'FEED_INVALID', 'offset,length'],
  ['cut off', 'FEED_INVALID', '[{"offset":0,"length":10}'],
  ['empty', 'FEED_INVALID', ''],
  ['binary', 'FEED_INVALID', '\u0000\u0001'],
  ['a number', 'FEED_INVALID', '5'],
  ['another shape', 'FEED_INVALID', '{"extents":[]}'],
  ['negative', 'FEED_INVALID', '[{"offset":-1,"length":10}]'],
  ['of negative length', 'FEED_INVALID', '[{"offset":0,"length":-10}]'],
  ['fractional', 'FEED_INVALID', '[{"offset":0.5,"length":10}]'],
  ['text', 'FEED_INVALID', '[{"offset":"0","length":10}]'],
  ['absurd', 'FEED_INVALID', '[{"offset":1e300,"length":10}]'],
  ['beyond 2^53', 'FEED_INVALID', '[{"offset":9007199254740991,"length":9007199254740991}]'],
  ['beyond the end', 'FEED_BEYOND_DISK', `[{"offset":${SIZE - 1},"length":2}]`],
  ['incomplete', 'FEED_INVALID', `{"startOffset":0,"length":${SIZE - 1},"changedArea":[]}`],
  [
    'outside its window',
    'FEED_INVALID',
    `{"startOffset":0,"length":${SIZE},"changedArea":[{"start":${SIZE},"length":1}]}`,
  ],
]

/** Waits until a process has read so much (Linux). */
async function untilRead(pid: number, bytes: number): Promise<void> {
  for (;;) {
    const counts = await readFile(`/proc/${pid}/io`, 'utf8')
    if (Number(/rchar: (\d+)/.exec(counts)?.[1]) >= bytes) return
    await sleep(5)
  }
}

describe('a command', () => {
  it.each(WRONG)('refuses %s', async (...given) => {
    const [, code, message, ...args] = given as unknown as Case
    expect((await at.fails(code, ...args)).message).toMatch(message)
  })

  it.each(NAMES)('refuses names with %s', async (_, name) => {
    await at.fails('NAME_INVALID', 'backup', name, 'vda=disk')
    // Disks go through the same rules; one whose name is empty is no DISK=PATH at all.
    if (name.startsWith('a/')) await at.fails('NAME_INVALID', 'backup', 'm', `${name}=disk`)
  })

  it.each(FEEDS)('refuses a feed that is %s', async (_, code, text) => {
    await at.write('feed', text)
    const { message } = await at.fails(code, 'backup', 'm', 'vda=disk', '--changed', 'vda=feed')
    expect(message).toContain('feed')
  })

  it('refuses a feed of a disk that has no earlier point', async () => {
    await at.write('feed', '[]')
    await at.fails('FEED_WITHOUT_BASE', 'backup', 'new', 'vda=disk', '--changed', 'vda=feed')
    await at.fails('FEED_WITHOUT_BASE', 'backup', 'm', 'vda=disk', 'vdb=disk', '--changed', 'vdb=feed')
  })

  it('asks for the repository where none is named', async () => {
    const run = await everfold(['points', '--json'], { cwd: at.folder })
    expect(failed('ARGUMENT_INVALID', run).message).toMatch(/--repo REPO, or set EVERFOLD_REPO/)
  })

  it('refuses to make a repository in a folder with other files, and leaves those alone', async () => {
    await mkdir(at.path('foreign'))
    await writeFile(at.path('foreign/thesis.txt'), 'mine')
    expect((await at.fails('ARGUMENT_INVALID', 'init', 'foreign')).message).toMatch(
      /thesis\.txt.*empty folder/,
    )
    await mkdir(at.path('mounted/lost+found'), { recursive: true })
    await at.ok('init', 'mounted')
    await mkdir(at.path('empty'))
    await at.ok('init', 'empty')
  })

  it('prints the error for people as one line, and nothing on standard output', async () => {
    const run = await everfold(['points', 'nobody'], at.options)
    expect(run).toMatchObject({ status: 3, stdout: '' })
    expect(run.stderr).toMatch(/^everfold: There is no machine "nobody" here\..* \[MACHINE_UNKNOWN\]\n$/)
  })
})

describe('a source', () => {
  it('that shrinks while it is read makes no point', async () => {
    writeThinFile(at.path('shrinking'), 2 ** 34)
    const child = start(['backup', 'shrinking', 'vda=shrinking', '--json'], at.options)
    const run = ended(child)
    await untilRead(child.pid!, 100 * MIB)
    await truncate(at.path('shrinking'), MIB)
    const { message } = failed('SOURCE_CHANGED', await run)
    expect(message).toMatch(/shrank from 17179869184 to 1048576 bytes.*snapshot/)
    await at.fails('MACHINE_UNKNOWN', 'points', 'shrinking')
    // What was read before stays as an orphan, for the next backup to find.
    before = await at.listing()
  })
})

describe('a repository of a newer format', () => {
  it('is refused, whatever else is in it', async () => {
    const text = `{"everfold":"repository","format":${REPOSITORY_FORMAT_VERSION + 1},"something":"else"}`
    const sum = execFileSync('sha256sum', { input: text, encoding: 'utf8' }).slice(0, 64)
    await mkdir(at.path('newer'))
    await at.write('newer/everfold.json', `${text.slice(0, -1)},"sha256":"${sum}"}`)
    for (const command of [
      ['points'],
      ['backup', 'm', 'vda=disk'],
      ['verify'],
      ['restore', 'm', 'latest', 'vda=out'],
    ])
      expect((await at.fails('FORMAT_TOO_NEW', ...command, '--repo', 'newer')).message).toMatch(
        /newer Everfold/,
      )
  })
})
