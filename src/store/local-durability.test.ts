import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { wrapFileSystem } from '../../test/contracts/wrapped-file-system.js'
import { isEverfoldError } from '../errors.js'
import { type PowerCut, VolatileFileSystem } from '../simulate/volatile-file-system.js'
import { type FileSystem, realFileSystem } from './file-system.js'
import { LocalStore, type LocalStoreOptions } from './local-store.js'

const cuts: PowerCut[] = ['loses all that is not synced', 'keeps names, loses their bytes']

describe('a put into a local store, on the real file system', () => {
  let root: string
  const stores: LocalStore[] = []

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'everfold-durability-'))
  })

  // What they keep open would be closed at some time, with a warning, and not for ever.
  afterEach(() => Promise.all(stores.splice(0).map((store) => store.close())))

  async function openStore(options: LocalStoreOptions = {}): Promise<LocalStore> {
    const store = await LocalStore.open(root, options)
    stores.push(store)
    return store
  }

  afterAll(async () => {
    await rm(root, { recursive: true })
  })

  it('syncs the bytes before they get their name, and every folder on the way before it answers', async () => {
    const calls: string[] = []
    const store = await openStore({ fileSystem: recording(root, calls) })
    await store.put('packs/ab/first', [Buffer.from('1')])
    calls.push('answered')
    const at = (call: string): number => {
      expect(calls).toContain(call)
      return calls.indexOf(call)
    }
    expect(at('write tmp/*')).toBeLessThan(at('sync tmp/*'))
    expect(at('sync tmp/*')).toBeLessThan(at('link packs/ab/first'))
    expect(at('link packs/ab/first')).toBeLessThan(at('sync packs/ab'))
    expect(at('sync packs/ab')).toBeLessThan(at('answered'))
    expect(at('mkdir packs/ab')).toBeLessThan(at('sync packs'))
    expect(calls.lastIndexOf('sync .')).toBeGreaterThan(at('mkdir packs'))
    expect(calls.lastIndexOf('sync .')).toBeLessThan(at('answered'))
  })

  it('syncs a folder that others made once, and nothing but the last folder from then on', async () => {
    const calls: string[] = []
    const store = await openStore({ fileSystem: recording(root, calls) })
    await store.put('packs/ab/second', [Buffer.from('2')])
    expect(calls).toContain('sync .')
    expect(calls).toContain('sync packs')
    calls.length = 0
    await store.put('packs/ab/third', [Buffer.from('3')])
    expect(calls).toEqual(['write tmp/*', 'sync tmp/*', 'link packs/ab/third', 'sync packs/ab'])
  })

  it('syncs what exists already before it says so, and writes nothing', async () => {
    const calls: string[] = []
    const store = await openStore({ fileSystem: recording(root, calls) })
    expect(await store.put('packs/ab/first', [Buffer.from('1')])).toBe('exists')
    expect(calls).toContain('sync packs/ab/first')
    expect(calls.at(-1)).toBe('sync packs/ab')
    expect(calls.filter((call) => !/^(?:sync|mkdir) /u.test(call))).toEqual([])
  })

  it('keeps that order for what came bit by bit, and gives it its name at its end', async () => {
    const calls: string[] = []
    const store = await openStore({ fileSystem: recording(root, calls) })
    const parts = [10, 9000, 1, 0, 4096, 300_000].map((length, i) => Buffer.alloc(length, i + 1))
    const begun = await store.begin()
    for (const part of parts) await begun.append([part])
    const written = calls.filter((call) => call === 'write tmp/*').length
    expect(written).toBeGreaterThan(1)
    expect(calls.some((call) => call.startsWith('link'))).toBe(false)
    calls.length = 0
    expect(await begun.put('packs/ab/begun', [Buffer.from('the last '), Buffer.from('bytes')])).toBe(
      'created',
    )
    expect(calls.filter((call) => /tmp|packs\/ab/u.test(call) && !call.startsWith('write '))).toEqual([
      'sync tmp/*',
      'link packs/ab/begun',
      'sync packs/ab',
    ])
    expect(
      Buffer.concat([...parts, Buffer.from('the last bytes')]).equals(await store.readAll('packs/ab/begun')),
    ).toBe(true)
  })

  it('takes what came bit by bit as there already, or drops it, without a trace', async () => {
    const store = await openStore()
    const [again, unwanted] = await Promise.all([store.begin(), store.begin()])
    await Promise.all([again.append([Buffer.from('1')]), unwanted.append([Buffer.alloc(10_000)])])
    expect(await again.put('packs/ab/first', [])).toBe('exists')
    await unwanted.discard()
    expect(Buffer.from(await store.readAll('packs/ab/first')).toString()).toBe('1')
  })

  it('leaves nothing in tmp/', async () => {
    expect(await realFileSystem.readdir(join(root, 'tmp'))).toEqual([])
  })
})

describe.each(cuts)('a power cut that %s', (cut) => {
  describe.each([
    ['with hard links', true],
    ['without hard links', false],
  ])('%s', (_, hardLinks) => {
    it('at any step leaves every acknowledged object whole, and no other one torn', async () => {
      let completed = false
      for (let step = 1; !completed; step++) {
        const fileSystem = new VolatileFileSystem()
        fileSystem.hardLinks = hardLinks
        fileSystem.cutAtStep = step
        const known = new Map<string, 'present' | 'absent'>()
        completed = await scenario(fileSystem, known)
        fileSystem.restart(cut)
        await expectKnown(fileSystem, known, `power cut at step ${step}`)
        expect(step).toBeLessThan(1000)
      }
    })
  })

  it('leaves an object that somebody was told exists, although its writer has not finished', async () => {
    const fileSystem = new VolatileFileSystem()
    const slow = await LocalStore.open('/store', { fileSystem, create: true })
    await slow.put('packs/cd/y', [content('packs/cd/y')])
    // Another process, so that nothing is known from the first one's puts.
    const quick = await LocalStore.open('/store', { fileSystem })
    const linked = new Promise<void>((resolve) => {
      let isLinked = false
      fileSystem.before = (call, path) => {
        if (call === 'link' && path === '/store/packs/ab/x') isLinked = true
        if (!isLinked || call !== 'open to read') return undefined
        // The slow writer never gets to sync anything after its link.
        resolve()
        return new Promise(() => {})
      }
    })
    slow.put('packs/ab/x', [content('packs/ab/x')]).catch(() => undefined)
    await linked
    fileSystem.before = () => {}
    expect(await quick.put('packs/ab/x', [content('packs/ab/x')])).toBe('exists')
    fileSystem.restart(cut)
    await expectKnown(fileSystem, new Map([['packs/ab/x', 'present']]), 'after exists')
  })
})

describe('the folder of a store', () => {
  it('survives a power cut with what is in it, even if somebody made it a moment before', async () => {
    const fileSystem = new VolatileFileSystem()
    await fileSystem.mkdir('/store')
    const store = await LocalStore.open('/store', { fileSystem, create: true })
    await store.put('packs/ab/x', [content('packs/ab/x')])
    fileSystem.restart('loses all that is not synced')
    await expectKnown(fileSystem, new Map([['packs/ab/x', 'present']]), 'after create')
  })
})

describe('a store without hard links', () => {
  it('does not overwrite an object that came while its writer was about to claim the name', async () => {
    const fileSystem = new VolatileFileSystem()
    fileSystem.hardLinks = false
    const slow = await LocalStore.open('/store', { fileSystem, create: true })
    const quick = await LocalStore.open('/store', { fileSystem })
    let isHeld = false
    fileSystem.before = async (call, path) => {
      if (isHeld || call !== 'open to create' || !path.includes('/claim-')) return
      isHeld = true
      expect(await quick.put('a', [Buffer.from('quick')])).toBe('created')
    }
    expect(await slow.put('a', [Buffer.from('slow')])).toBe('exists')
    expect(isHeld).toBe(true)
    expect(Buffer.from(await slow.readAll('a')).toString()).toBe('quick')
  })
})

/** @returns true if the power was not cut. `known` has what was acknowledged. */
async function scenario(
  fileSystem: VolatileFileSystem,
  known: Map<string, 'present' | 'absent'>,
): Promise<boolean> {
  try {
    const store = await LocalStore.open('/srv/backup/store', { fileSystem, create: true })
    const put = async (key: string): Promise<void> => {
      expect(['created', 'exists']).toContain(
        await store.put(key, [content(key).subarray(0, 3), content(key).subarray(3)]),
      )
      known.set(key, 'present')
    }
    const putBitByBit = async (key: string): Promise<void> => {
      const begun = await store.begin()
      await begun.append([content(key).subarray(0, 3)])
      await begun.append([content(key).subarray(3, 5)])
      expect(['created', 'exists']).toContain(await begun.put(key, [content(key).subarray(5)]))
      known.set(key, 'present')
    }
    await put('everfold.json')
    await Promise.all(['packs/ab/a', 'packs/ab/b', 'packs/cd/c', 'packs/ab/a'].map(put))
    await put('packs/ab/a')
    await Promise.all([putBitByBit('packs/ef/e'), putBitByBit('packs/ab/f'), putBitByBit('packs/ab/a')])
    await put('chains/m/1')
    known.delete('packs/ab/b')
    await store.remove('packs/ab/b')
    known.set('packs/ab/b', 'absent')
    await put('chains/m/2')
    // Its folder goes with it, and comes again.
    known.delete('packs/cd/c')
    await store.remove('packs/cd/c')
    known.set('packs/cd/c', 'absent')
    await put('packs/cd/d')
    await store.settle('packs/')
    return true
  } catch (error) {
    // A cut while opening is REPOSITORY_NOT_FOUND's or STORE_FAILED's; an assertion of this test is neither.
    if (!isEverfoldError(error, 'STORE_FAILED')) throw error
    return false
  }
}

async function expectKnown(
  fileSystem: VolatileFileSystem,
  known: ReadonlyMap<string, 'present' | 'absent'>,
  when: string,
): Promise<void> {
  const roots = ['/srv/backup/store', '/store']
  for (const root of roots) {
    const store = await LocalStore.open(root, { fileSystem }).catch((error: unknown) => {
      if (!isEverfoldError(error, 'REPOSITORY_NOT_FOUND')) throw error
      return undefined
    })
    if (store === undefined) continue
    await store.removeLeftovers()
    for await (const { key } of store.list('')) {
      expect(Buffer.from(await store.readAll(key)).toString(), `${key}: ${when}`).toBe(
        content(key).toString(),
      )
    }
    for (const [key, state] of known) {
      expect((await store.size(key)) === undefined ? 'absent' : 'present', `${key}: ${when}`).toBe(state)
    }
    // And it goes on: what was interrupted can be done again.
    await store.put('packs/ab/b', [content('packs/ab/b')])
    await store.put('chains/m/2', [content('chains/m/2')])
    return
  }
  expect([...known], when).toEqual([])
}

function content(key: string): Buffer {
  return Buffer.from(`the content of ${key}`)
}

/** Notes the calls that matter for durability, with paths from the root; names in tmp/ are random. */
function recording(root: string, calls: string[]): FileSystem {
  const note = (call: string, path: string): void => {
    const shown = relative(root, path).replace(/^tmp\/.+/u, 'tmp/*')
    calls.push(`${call} ${shown === '' ? '.' : shown}`)
  }
  return wrapFileSystem({
    opened: (file, path) => ({
      ...file,
      writev: async (parts) => {
        const result = await file.writev(parts)
        note('write', path)
        return result
      },
      sync: async () => {
        await file.sync()
        note('sync', path)
      },
    }),
    calls: {
      link: async (existing, added) => {
        await realFileSystem.link(existing, added)
        note('link', added)
      },
      mkdir: async (path) => {
        await realFileSystem.mkdir(path)
        note('mkdir', path)
      },
    },
  })
}
