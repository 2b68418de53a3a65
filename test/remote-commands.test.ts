/** Every command gives the same with --server as with --repo: two copies of one repository, one of them served. */

import { cp, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { diskLike, MIB, noise, overwritten } from './disk-bytes.js'
import { everfold, type Json, printed, type Run } from './everfold.js'
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
  return { status: run.status, stdout: printed(run, leaveOut), stderr: run.stderr }
}

async function expectSame(...args: readonly string[]): Promise<Json> {
  const [here, there] = [
    await everfold([...args, '--json'], local.options),
    await onServer([...args, '--json']),
  ]
  expect(shown(there), args.join(' ')).toEqual(shown(here))
  return printed(there)
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

  it.each([
    ['backup new1 vda=disk --note first'],
    ['backup new1 vda=disk --chunker fixed'],
    ['backup new1 vda=disk vdb=disk'],
    ['backup new1 vda=disk --changed vda=feed.json'],
    ['retain new1 --last 2 --save'],
    ['backup new1 vda=disk'],
    ['backup new1 vda=disk --changed vdb=feed.json'],
    ['backup new1 vda=disk vdc=disk --changed vdc=feed.json'],
    ['delete new1 latest'],
    ['backup new1 vda=disk --changed vda=feed.json'],
    ['backup new2 vda=disk --changed vda=feed.json'],
    ['backup new2 vda=missing'],
    ['backup new2 disk'],
    [`backup new2 vda=disk --note ${'x'.repeat(1001)}`],
    ['backup .new vda=disk'],
    ['backup new2 .vda=disk'],
    ['backup new2 vda=disk vda=disk'],
  ])('%s, but for the ids of points', async (line) => {
    for (const where of [local, remote]) {
      await where.write('disk', DISK)
      await where.write('feed.json', Buffer.from('[{"offset": 4096, "length": 100000}]'))
    }
    const args = [...line.split(' '), '--json']
    const [here, there] = [await everfold(args, local.options), await onServer(args)].map((run) => {
      const { status, stdout, stderr } = shown(run)
      const ofPoints = (key: string, value: unknown): unknown =>
        ['point', 'removed', 'kept'].includes(key) ? String(value).replaceAll(/[0-9a-z]{8}/g, 'id') : value
      return { status, stderr, stdout: JSON.parse(JSON.stringify(stdout), ofPoints) }
    })
    expect(there).toEqual(here)
  })

  it('backup, where the retention after it fails: the point is safe, and the exit status is 8', async () => {
    for (const where of [local, remote]) await where.write('disk', DISK)
    await local.ok('retain', '--last', '1', '--save')
    expect((await onServer(['retain', '--last', '1', '--save'])).status).toBe(0)
    for (const { repo } of [local, remote]) {
      const [newest] = (await readdir(join(repo, 'settings'))).sort().reverse()
      await writeFile(join(repo, 'settings', newest!), '#')
    }
    const args = ['backup', 'new3', 'vda=disk', '--json']
    const [here, there] = [await everfold(args, local.options), await onServer(args)]
    expect(there.status).toBe(8)
    expect(printed(there).retention.error.code).toBe('DATA_DAMAGED')
    expect(there.stderr).toBe(here.stderr)
    expect(printed(there).retention).toEqual(printed(here).retention)
    await expectSame('retain', '--forget-policy')
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
    const { id, token } = printed(made)
    expect(token).toMatch(/^everfold_/)
    const listed = printed(await onServer(['token', 'list', '--json']))
    expect(listed.map((one: Json) => one.name)).toEqual(['first admin', 'desk'])
    expect(printed(await onServer(['token', 'revoke', id, '--json']))).toMatchObject({
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

it('backup that brings good copies of damaged chunks says so', async () => {
  const own = await Workspace.make()
  await own.ok('backup', 'web1', `vda=${await own.write('disk', DISK)}`)
  for (const path of (await own.objects()).filter((name) => name.startsWith('packs/'))) {
    const pack = await readFile(join(own.repo, path))
    pack.writeUInt8(pack.readUInt8(1000) ^ 1, 1000)
    await writeFile(join(own.repo, path), pack)
  }
  const service = await Served.start(own)
  const env = { EVERFOLD_SERVER: service.url, EVERFOLD_TOKEN: service.adminToken, EVERFOLD_REPO: undefined }
  const there = { cwd: own.folder, env }
  expect((await everfold(['verify'], there)).status).toBe(5)
  const backup = await everfold(['backup', 'web1', 'vda=disk', '--json'], there)
  expect(backup.status).toBe(0)
  expect(backup.stderr).toMatch(/^everfold: \d+ damaged chunks are whole again$/m)
  expect(printed(backup)).not.toHaveProperty('healedChunks')
  expect(await service.stop()).toBe(0)
  await own.expectDisk('web1', 'parent', DISK)
  await own.remove()
})
