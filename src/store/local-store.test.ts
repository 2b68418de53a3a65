import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { link, mkdir, mkdtemp, readdir, rename, rm, statfs, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  mountSmallDisk,
  type SmallDisk,
  simulateSmallDisk,
  wrapFileSystem,
} from '../../test/contracts/wrapped-file-system.js'
import { ALIGNED_SLOT_BYTES } from '../aligned-memory.js'
import { DIRECT_BYTES_MIN } from '../direct-writes.js'
import { systemError } from '../simulate/volatile-file-system.js'
import { type FileSystem, type OpenFile, realFileSystem } from './file-system.js'
import { LocalStore, type LocalStoreOptions } from './local-store.js'

let scratch: string
let root: string
const stores: LocalStore[] = []

beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'everfold-local-'))
  root = join(scratch, 'store')
  await mkdir(root)
})

afterEach(async () => {
  await Promise.all(stores.splice(0).map((store) => store.close()))
  await rm(scratch, { recursive: true })
})

describe('a large object', () => {
  const sizes = [DIRECT_BYTES_MIN - 1, DIRECT_BYTES_MIN, ALIGNED_SLOT_BYTES, 3 * ALIGNED_SLOT_BYTES + 4095]

  it.each(sizes)('of %i bytes in parts of any length is read as it was written', async (size) => {
    const store = await openStore()
    const bytes = randomBytes(size)
    const cuts = [0, 1, 4095, 4096, 70_001, size / 2, size - 1, size].map(Math.floor)
    const parts = cuts.slice(1).map((cut, i) => bytes.subarray(cuts[i], cut))
    expect(await store.put('large', parts)).toBe('created')
    expect(bytes.equals(await store.readAll('large'))).toBe(true)
    expect(await store.size('large')).toBe(size)
  })

  it('is written past the page cache where the disk lets it', async (context) => {
    const store = await openStore()
    await store.put('large', [randomBytes(3 * ALIGNED_SLOT_BYTES + 1)])
    const cached = spawnSync('fincore', ['--bytes', '--noheadings', '--output', 'RES', join(root, 'large')], {
      encoding: 'utf8',
    })
    if (cached.status !== 0 || !PASSABLE.includes((await statfs(root)).type))
      return context.skip('no fincore here, or another file system')
    expect(Number(cached.stdout)).toBeLessThanOrEqual(4096)
  })

  it('many at once', async () => {
    const store = await openStore()
    const objects = Array.from({ length: 20 }, (_, i) => randomBytes(700_000 + i))
    await Promise.all(objects.map((bytes, i) => store.put(`many-${i}`, [bytes])))
    for (const [i, bytes] of objects.entries())
      expect(bytes.equals(await store.readAll(`many-${i}`)), `object ${i}`).toBe(true)
  })
})

/** Those of which it is known that O_DIRECT passes the page cache; others may take it for a hint. As statfs(2) names them. */
const PASSABLE = [/* ext4 */ 0xef53, /* XFS */ 0x58465342]

describe('opening a local store', () => {
  it('writes nothing', async () => {
    const store = await openStore()
    await store.size('everfold.json')
    expect(await readdir(root)).toEqual([])
    expect(store.location).toBe(root)
  })

  it('is REPOSITORY_NOT_FOUND where there is no folder, unless it is to be created', async () => {
    const path = join(scratch, 'new/deep/store')
    await expect(LocalStore.open(path)).rejects.toMatchObject({ code: 'REPOSITORY_NOT_FOUND' })
    const store = await openStore({ create: true }, path)
    expect(await store.put('a', [Buffer.from('x')])).toBe('created')
    await openStore({ create: true }, path)
  })

  it('says so where there is a file', async () => {
    await writeFile(join(scratch, 'file'), '')
    await expect(LocalStore.open(join(scratch, 'file'))).rejects.toMatchObject({
      code: 'REPOSITORY_NOT_FOUND',
    })
  })
})

describe('a folder below the root', () => {
  it('goes with the last object in it', async () => {
    const store = await openStore()
    for (const key of ['sessions/a/begin', 'sessions/a/done', 'sessions/b/begin'])
      await store.put(key, [Buffer.from('x')])
    await store.remove('sessions/a/begin')
    expect((await readdir(join(root, 'sessions'))).sort()).toEqual(['a', 'b'])
    await store.remove('sessions/a/done')
    expect(await readdir(join(root, 'sessions'))).toEqual(['b'])
    expect(await store.put('sessions/a/begin', [Buffer.from('y')])).toBe('created')
    expect(Buffer.from(await store.readAll('sessions/a/begin')).toString()).toBe('y')
  })

  it('may go while others put objects into it', async () => {
    const store = await openStore()
    const turns = Array.from({ length: 100 }, (_, turn) => turn)
    await Promise.all(
      Array.from({ length: 8 }, async (_, writer) => {
        for (const turn of turns) {
          const key = `packs/aa/${writer}-${turn}`
          expect(await store.put(key, [Buffer.from(key)])).toBe('created')
          expect(Buffer.from(await store.readAll(key)).toString()).toBe(key)
          await store.settle('packs/')
          await store.remove(key)
        }
      }),
    )
    expect(await readdir(join(root, 'packs'))).toEqual([])
  })
})

const disks: [string, () => SmallDisk][] = [
  ['of 4 MiB', () => mountSmallDisk(root) ?? simulateSmallDisk()],
  ['that is simulated', () => simulateSmallDisk()],
]

describe.each(disks)('a local store on a full disk %s', (_, makeDisk) => {
  let store: LocalStore
  let disk: SmallDisk

  beforeEach(async () => {
    disk = makeDisk()
    store = await openStore({ fileSystem: disk.fileSystem })
  })

  afterEach(() => {
    disk.unmount()
  })

  it('refuses with STORE_FULL, keeps nothing of the object, reads on, and goes on when there is space', async () => {
    await store.put('packs/aa/small', [Buffer.alloc(1000, 1)])
    const parts = Array.from({ length: 100 }, () => Buffer.alloc(64 * 1024, 2))
    await expect(store.put('packs/bb/large', parts)).rejects.toMatchObject({
      code: 'STORE_FULL',
      message: expect.stringMatching(
        /Cannot write packs\/bb\/large .*Make space .* collect garbage; then try again/u,
      ),
      cause: { code: 'ENOSPC' },
    })
    expect(await store.size('packs/bb/large')).toBeUndefined()
    expect(await readdir(join(root, 'tmp'))).toEqual([])
    expect(await store.readAll('packs/aa/small')).toEqual(new Uint8Array(1000).fill(1))
    expect(await store.put('packs/bb/other', [Buffer.alloc(1000, 3)])).toBe('created')
    disk.grow()
    expect(await store.put('packs/bb/large', parts)).toBe('created')
    expect(await store.size('packs/bb/large')).toBe(100 * 64 * 1024)
  })

  it('can be opened, read and listed with zero bytes free', async () => {
    await store.put('packs/aa/small', [Buffer.alloc(1000, 1)])
    await fillUp()
    const again = await openStore()
    expect((await again.readTail('packs/aa/small', 10)).sizeBytes).toBe(1000)
    const keys: string[] = []
    for await (const { key } of again.list('packs/')) keys.push(key)
    expect(keys).toEqual(['packs/aa/small'])
    await again.remove('packs/aa/small')
    expect(await again.size('packs/aa/small')).toBeUndefined()
  })

  async function fillUp(): Promise<void> {
    const part = Buffer.alloc(4096)
    for (let index = 0; index < 10_000; index++) {
      try {
        await store.put(`fill/${index}`, [part])
      } catch {
        return
      }
    }
    throw new Error('the disk is not small')
  }
})

describe('errors of the system', () => {
  it.each([
    ['ENOSPC', 'STORE_FULL', /no space is left/u],
    ['EDQUOT', 'STORE_FULL', /quota/u],
    ['EFBIG', 'STORE_FULL', /that large/u],
    ['EIO', 'STORE_FAILED', /EIO/u],
    ['EROFS', 'STORE_FAILED', /writable/u],
  ])('%s while syncing is %s, with its cause, and leaves nothing behind', async (code, expected, message) => {
    const fileSystem = wrapFileSystem({
      opened: (file, path) => ({
        ...file,
        sync: async () => {
          if (path.includes('/tmp/')) throw systemError(code, 'injected')
          await file.sync()
        },
      }),
    })
    const store = await openStore({ fileSystem })
    const put = store.put('packs/aa/x', [Buffer.from('x')])
    await expect(put).rejects.toMatchObject({
      code: expected,
      cause: { code },
      message: expect.stringMatching(message),
    })
    expect(await readdir(join(root, 'tmp'))).toEqual([])
    expect(await store.size('packs/aa/x')).toBeUndefined()
  })

  it.each(['EACCES', 'EIO', 'EMFILE', 'ESTALE'])(
    '%s while opening says nothing about the object',
    async (code) => {
      let fails = true
      const open: FileSystem['open'] = async (path, how) => {
        if (fails && path.endsWith('/x')) throw systemError(code, 'injected')
        return realFileSystem.open(path, how)
      }
      const store = await openStore({ fileSystem: { ...realFileSystem, open } })
      fails = false
      await store.put('x', [Buffer.from('x')])
      fails = true
      const failed = { code: 'STORE_FAILED', cause: { code } }
      await expect(store.read('x', 0, 1)).rejects.toMatchObject(failed)
      await expect(store.readAll('x')).rejects.toMatchObject(failed)
      await expect(store.readTail('x', 1)).rejects.toMatchObject(failed)
      fails = false
      expect(await store.read('x', 0, 1)).toEqual(Uint8Array.from(Buffer.from('x')))
    },
  )

  it('are not swallowed by a size or a listing', async () => {
    const stat: FileSystem['stat'] = async (path) => {
      if (path.endsWith('/x')) throw systemError('EIO', 'injected')
      return realFileSystem.stat(path)
    }
    const readdir: FileSystem['readdir'] = async (path) => {
      if (path.endsWith('/bad')) throw systemError('EIO', 'injected')
      return realFileSystem.readdir(path)
    }
    const setUp = await openStore()
    await setUp.put('x', [])
    await setUp.put('bad/y', [])
    const store = await openStore({ fileSystem: { ...realFileSystem, stat, readdir } })
    await expect(store.size('x')).rejects.toMatchObject({ code: 'STORE_FAILED' })
    await expect(keysOf(store)).rejects.toMatchObject({ code: 'STORE_FAILED' })
    await expect(keysOf(store, 'bad/')).rejects.toMatchObject({ code: 'STORE_FAILED' })
  })
})

describe('a local store whose disk was unmounted', () => {
  it.each(['an empty folder', 'nothing'])(
    'says STORE_FAILED and not "missing", with %s in its place',
    async (left) => {
      const store = await openStore()
      await store.put('packs/aa/x', [Buffer.from('x')])
      await rename(root, `${root}-away`)
      if (left === 'an empty folder') await mkdir(root)
      const failed = {
        code: 'STORE_FAILED',
        message: expect.stringContaining('Check that the disk is mounted'),
      }
      await expect(store.read('packs/aa/y', 0, 1)).rejects.toMatchObject(failed)
      await expect(store.readAll('packs/aa/x')).rejects.toMatchObject(failed)
      await expect(store.size('packs/aa/x')).rejects.toMatchObject(failed)
      await expect(keysOf(store)).rejects.toMatchObject(failed)
      await expect(keysOf(store, 'packs/')).rejects.toMatchObject(failed)
      await expect(store.remove('packs/aa/x')).rejects.toMatchObject(failed)
      await expect(store.put('packs/aa/y', [Buffer.from('y')])).rejects.toMatchObject(failed)
      // Least of all may it fill the disk below.
      if (left === 'an empty folder') expect(await readdir(root)).toEqual([])
    },
  )
})

describe('a local store without hard links', () => {
  const fileSystem: FileSystem = {
    ...realFileSystem,
    link: async () => {
      throw systemError('EPERM', 'no hard links here')
    },
  }

  it('lets exactly one of many writers in several stores create an object', async () => {
    const stores = await Promise.all([1, 2, 3, 4].map(() => openStore({ fileSystem })))
    const answers = await Promise.all(
      Array.from({ length: 32 }, (_, writer) =>
        stores[writer % 4]!.put('chains/m/1', [Buffer.from(`writer ${writer}`)]),
      ),
    )
    expect(answers.filter((answer) => answer === 'created')).toHaveLength(1)
    const winner = answers.indexOf('created')
    expect(Buffer.from(await stores[0]!.readAll('chains/m/1')).toString()).toBe(`writer ${winner}`)
    expect(await readdir(join(root, 'tmp'))).toEqual([])
  })

  it('is not stopped for ever by the claim of a writer that died', async () => {
    const stuck = await openStore({
      fileSystem: {
        ...fileSystem,
        rename: () => new Promise(() => {}),
      },
    })
    stuck.put('a', [Buffer.from('1')]).catch(() => undefined)
    while (!(await readdir(join(root, 'tmp')).catch(() => [])).some((name) => name.startsWith('claim-'))) {
      await new Promise(setImmediate)
    }
    const store = await openStore({ fileSystem })
    const waiting = store.put('a', [Buffer.from('2')])
    expect(await store.removeLeftovers()).toBeGreaterThan(0)
    // The one who waited has lost its own file as well: that is what the repository's lock is for.
    await waiting.catch(() => undefined)
    expect(['created', 'exists']).toContain(await store.put('a', [Buffer.from('2')]))
    expect(Buffer.from(await store.readAll('a')).toString()).toBe('2')
  })
})

describe('leftovers of crashed writes', () => {
  it('are removed, and nothing else is', async () => {
    const store = await openStore()
    expect(await store.removeLeftovers()).toBe(0)
    await store.put('packs/aa/x', [Buffer.from('x')])
    await writeFile(join(root, 'tmp/0123'), 'torn')
    await link(join(root, 'packs/aa/x'), join(root, 'tmp/4567'))
    expect(await store.removeLeftovers()).toBe(2)
    expect(await readdir(join(root, 'tmp'))).toEqual([])
    expect(await keysOf(store)).toEqual(['packs/aa/x'])
  })

  it('do not matter when somebody removes tmp/ altogether', async () => {
    const store = await openStore()
    await store.put('a', [Buffer.from('x')])
    await rm(join(root, 'tmp'), { recursive: true })
    expect(await store.put('b', [Buffer.from('x')])).toBe('created')
  })
})

describe('listing a local store', () => {
  it('passes over what is no object', async () => {
    const store = await openStore()
    await store.put('everfold.json', [Buffer.from('{}')])
    await store.put('runs/tmp/lock', [Buffer.from('x')])
    for (const folder of ['index', 'lock', 'lost+found', 'packs/my notes'])
      await mkdir(join(root, folder), { recursive: true })
    for (const file of ['index/1.log', 'lock/holder.json', 'tmp/left', 'ümlaut', 'packs/my notes/a']) {
      await writeFile(join(root, file), 'x')
    }
    await symlink('everfold.json', join(root, 'alias'))
    expect(await keysOf(store)).toEqual(['everfold.json', 'runs/tmp/lock'])
  })

  it('tolerates entries that vanish between being seen and being looked at', async () => {
    let vanish = async (): Promise<void> => {}
    const fileSystem: FileSystem = {
      ...realFileSystem,
      readdir: async (path) => {
        const entries = await realFileSystem.readdir(path)
        await vanish()
        return entries
      },
    }
    const store = await openStore({ fileSystem })
    for (const key of ['a/1', 'a/2', 'b/3', 'c']) await store.put(key, [])
    vanish = async () => {
      await rm(join(root, 'a/1'), { force: true })
      await rm(join(root, 'b'), { recursive: true, force: true })
    }
    expect(await keysOf(store)).toEqual(['a/2', 'c'])
  })
})

describe('reading a local store', () => {
  it('keeps at most the given number of files open, and all of them work', async () => {
    const counting = countingOpens()
    const store = await openStore({ fileSystem: counting.fileSystem, openFilesMax: 4 })
    for (let index = 0; index < 20; index++) await store.put(`p/${index}`, [Buffer.from(`object ${index}`)])
    for (let round = 0; round < 3; round++) {
      for (let index = 0; index < 20; index++) {
        expect(Buffer.from(await store.readAll(`p/${index}`)).toString()).toBe(`object ${index}`)
        expect(counting.open.size).toBeLessThanOrEqual(4)
      }
    }
    await store.close()
    expect(counting.open.size).toBe(0)
  })

  it('opens a file once for many reads, and keeps those used last', async () => {
    const counting = countingOpens()
    const store = await openStore({ fileSystem: counting.fileSystem, openFilesMax: 2 })
    for (const key of ['a', 'b', 'c']) await store.put(key, [Buffer.from(key)])
    counting.opened.length = 0
    await Promise.all(Array.from({ length: 20 }, () => store.read('a', 0, 1)))
    for (const key of ['b', 'a', 'c', 'a', 'b']) await store.read(key, 0, 1)
    expect(counting.opened).toEqual(['a', 'b', 'c', 'b'])
  })

  it('finishes reads under way when the object is removed or its file evicted, and closes the file then', async () => {
    const counting = countingOpens()
    const store = await openStore({ fileSystem: counting.fileSystem, openFilesMax: 1 })
    await store.put('a', [Buffer.from('old')])
    await store.put('b', [Buffer.from('bbb')])
    const resume = counting.holdReads()
    const reading = [store.read('a', 0, 3), store.read('b', 0, 3)]
    await counting.held(2)
    await store.remove('a')
    await store.put('a', [Buffer.from('new')])
    resume()
    expect((await Promise.all(reading)).map((bytes) => Buffer.from(bytes).toString())).toEqual(['old', 'bbb'])
    expect(Buffer.from(await store.read('a', 0, 3)).toString()).toBe('new')
    await store.close()
    expect(counting.open.size).toBe(0)
  })

  it('goes on where the system reads or writes less than it was asked to', async () => {
    const fileSystem = wrapFileSystem({
      opened: (file) => ({
        ...file,
        read: (target, offset, length, position) => file.read(target, offset, Math.min(length, 7), position),
        writev: (parts) => file.writev([parts[0]!.subarray(0, 5)]),
      }),
    })
    const store = await openStore({ fileSystem })
    const parts = ['some', ' words', '', ' of several', ' lengths and so on'].map((text) => Buffer.from(text))
    await store.put('a', parts)
    expect(Buffer.from(await store.readAll('a')).toString()).toBe('some words of several lengths and so on')
    expect(Buffer.from(await store.read('a', 5, 16)).toString()).toBe('words of several')
  })

  it('is refused to keys that would leave the folder: those are bugs of ours', async () => {
    const store = await openStore()
    for (const key of ['../x', '/etc/passwd', 'a/../../x', 'tmp/x', '']) {
      await expect(store.readAll(key)).rejects.toThrow(/not a store key/u)
      await expect(store.put(key, [])).rejects.toThrow(/not a store key/u)
      await expect(store.remove(key)).rejects.toThrow(/not a store key/u)
    }
    await expect(store.read('a', -1, 1)).rejects.toThrow(/not an offset/u)
    await expect(store.read('a', 0, 0.5)).rejects.toThrow(/not a length/u)
    await store.close()
    await expect(store.readAll('a')).rejects.toThrow(/closed/u)
  })
})

async function openStore(options: LocalStoreOptions = {}, path = root): Promise<LocalStore> {
  const store = await LocalStore.open(path, options)
  stores.push(store)
  return store
}

async function keysOf(store: LocalStore, prefix = ''): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of store.list(prefix)) keys.push(key)
  return keys.sort()
}

/** Which files are open for reading, and a way to hold reads up. */
function countingOpens() {
  const open = new Set<OpenFile>()
  const opened: string[] = []
  let gate = Promise.resolve()
  let waiting = 0
  const fileSystem = wrapFileSystem({
    opened: (file, path, how) => {
      if (how === 'create') return file
      const counted: OpenFile = {
        ...file,
        read: async (...range) => {
          waiting++
          await gate
          return file.read(...range)
        },
        close: async () => {
          open.delete(counted)
          await file.close()
        },
      }
      open.add(counted)
      opened.push(path.slice(root.length + 1))
      return counted
    },
  })
  return {
    fileSystem,
    open,
    opened,
    holdReads: () => {
      const { promise, resolve } = deferred()
      gate = promise
      waiting = 0
      return resolve
    },
    held: async (count: number) => {
      while (waiting < count) await new Promise(setImmediate)
    },
  }
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => {}
  const promise = new Promise<void>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}
