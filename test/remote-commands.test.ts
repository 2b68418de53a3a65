/** Every command gives the same with --server as with --repo: two copies of one repository, one of them served. */

import { cp } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { diskLike, MIB, noise, overwritten } from './disk-bytes.js'
import { everfold, type Json, type Run } from './everfold.js'
import { Served } from './server-process.js'
import { Workspace } from './workspace.js'

let local: Workspace
let remote: Workspace
let served: Served
const DISK = diskLike('remote commands', 3 * MIB + 512)
const CHANGED = overwritten(DISK, MIB, noise('changed', 100_000))

beforeAll(async () => {
  local = await Workspace.make()
  remote = await Workspace.make('no repository')
  for (const [i, disk] of [DISK, CHANGED, DISK, CHANGED, DISK].entries())
    await local.ok('backup', 'web1', `vda=${await local.write('disk', disk)}`, '--note', `number ${i}`)
  await local.ok('backup', 'db1', `vda=${await local.write('disk', CHANGED)}`)
  await local.ok('backup', 'old1', `vda=${await local.write('disk', CHANGED)}`)
  await cp(local.repo, remote.repo, { recursive: true })
  served = await Served.start(remote)
})

afterAll(async () => {
  await served.stop()
  await local.remove()
  await remote.remove()
})

function onServer(args: readonly string[]): Promise<Run> {
  const { url, adminToken } = served
  const env = { EVERFOLD_SERVER: url, EVERFOLD_TOKEN: adminToken, EVERFOLD_REPO: undefined }
  return everfold(args, { cwd: remote.folder, env })
}

/** What is the same in both: times that work took, and what is random, left out. */
function shown(run: Run): { status: number | null; stdout: Json; stderr: string } {
  const leaveOut = (key: string, value: unknown): unknown =>
    ['seconds', 'token', 'createdAt', 'indexBytes'].includes(key) ? '…' : value
  return { status: run.status, stdout: JSON.parse(run.stdout, leaveOut), stderr: run.stderr }
}

async function expectSame(...args: readonly string[]): Promise<Json> {
  const [here, there] = [
    await everfold([...args, '--json'], local.options),
    await onServer([...args, '--json']),
  ]
  expect(shown(there), args.join(' ')).toEqual(shown(here))
  return JSON.parse(there.stdout)
}

describe('with --server, the same comes out as with --repo:', () => {
  it.each([
    ['points'],
    ['points web1'],
    ['points web1 --fast'],
    ['points nobody'],
    ['stats'],
    ['verify'],
    ['verify --sample 100%'],
    ['verify --sample 200%'],
    ['gc --dry-run'],
    ['gc --dry-run --dead-share 10%'],
    ['reindex'],
    ['retain'],
    ['retain web1 --last 4 --dry-run'],
    ['retain web1 --daily 0'],
    ['retain nobody --last 1'],
    ['restore web1 latest vda=restored'],
    ['restore web1 latest vda=restored'], // exists now
    ['restore web1 parent vda=restored --force'],
    ['restore web1 latest --onto vda=restored --onto-point parent'],
    ['restore web1 nothing vda=other'],
    ['restore web1 latest vdb=other'],
    ['restore nobody latest vda=other'],
    ['restore web1 latest'],
    ['restore web1 latest --onto vda=restored'],
    ['pin web1 latest --reason audit --until 2036-12-31'],
    ['pin web1 latest'],
    ['delete web1 latest'], // pinned
    ['unpin web1 latest'],
    ['unpin web1 latest'],
    ['delete web1 latest'],
    ['delete nobody latest'],
    ['fold web1 --keep 3'],
    ['fold web1 --keep 3'],
    ['fold web1'],
    ['retain web1 --last 2 --save'],
    ['retain --last 9 --save --dry-run'],
    ['retain --last 9 --save'],
    ['retain'],
    ['retain --forget-policy'],
    ['retain web1 --forget-policy'],
    ['retain web1'],
    ['delete-machine old1'],
    ['delete-machine old1 --yes'],
    ['delete-machine old1 --yes'],
    ['gc --rounds 0'],
    ['points'],
    ['stats'],
    ['verify'],
    ['reindex'],
    ['token revoke aaaaaaaa'],
    ['token create --name x --role nobody'],
  ])('%s', async (line) => {
    await expectSame(...line.split(' '))
  })

  it.each([['gc'], ['gc --rounds 4']])('%s, but for records of the jobs that a service has', async (line) => {
    const ofJobs = ['removedObjects', 'removedBytes']
    const [here, there] = [
      await everfold([...line.split(' '), '--json'], local.options),
      await onServer([...line.split(' '), '--json']),
    ].map((run) => {
      const { status, stdout, stderr } = shown(run)
      return { status, stderr, figures: Object.entries(stdout).filter(([key]) => !ofJobs.includes(key)) }
    })
    expect(there?.status).toBe(0)
    expect(there).toEqual(here)
  })

  it('token create, list and revoke', async () => {
    const [made] = [await onServer(['token', 'create', '--name', 'desk', '--role', 'restore', '--json'])]
    const { id, token } = JSON.parse(made.stdout)
    expect(token).toMatch(/^everfold_/)
    const listed = JSON.parse((await onServer(['token', 'list', '--json'])).stdout)
    expect(listed.map((one: Json) => one.name)).toEqual(['first admin', 'desk'])
    expect(JSON.parse((await onServer(['token', 'revoke', id, '--json'])).stdout)).toMatchObject({
      id,
      name: 'desk',
    })
  })
})

describe('where --server makes no sense, or what it needs is missing,', () => {
  it.each([
    ['init elsewhere --server http://127.0.0.1:1', 'run this there, without --server'],
    ['serve --server http://127.0.0.1:1', 'run this there, with --repo'],
    ['points --server http://127.0.0.1:1 --repo x', 'not both'],
    ['points --server nonsense', 'is no address of a service'],
    ['points --server http://127.0.0.1:1 --token-file missing', 'Cannot read the token'],
  ])('it is said: %s', async (line, sentence) => {
    const { message } = await local.fails('ARGUMENT_INVALID', ...line.split(' '))
    expect(message).toContain(sentence)
  })

  it('a token that is missing or does not hold is refused', async () => {
    const at = ['points', 'web1', '--server', served.url]
    await local.fails('UNAUTHENTICATED', ...at)
    await local.write('wrong', 'everfold_wrong\n')
    await local.fails('UNAUTHENTICATED', ...at, '--token-file', 'wrong')
  })
})
