import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

import { encodeChainState } from '../src/chain/chain-state.js'
import { encodeConfig } from '../src/chain/config.js'
import { ExtentList, SAME, ZEROS } from '../src/chain/extent-list.js'
import { PackTable } from '../src/chain/pack-table.js'
import { Repository } from '../src/chain/repository.js'
import { encodeRun } from '../src/chain/run-codec.js'
import { encodePart } from '../src/chain/session/part-codec.js'
import { isOpen, Sessions } from '../src/chain/session/sessions.js'
import { readSettings } from '../src/chain/settings.js'
import { MemoryIndex } from '../src/index/memory-index.js'
import { encodeBundleTail } from '../src/pack/bundle-format.js'
import { PackCatalog } from '../src/pack/catalog.js'
import { InlineCrew } from '../src/pack/inline-crew.js'
import { planDisk } from '../src/restore/plan.js'
import { restoreDisk } from '../src/restore/restore.js'
import { verifyRepository } from '../src/restore/verify.js'
import { openSealedJson, sealJson } from '../src/sealed-json.js'
import { sessionPartKey } from '../src/store/keys.js'
import { MemoryStore } from '../src/store/memory-store.js'
import { packBytes, packOf } from './format-samples.js'
import { MemoryTarget } from './life.js'

const text = readFileSync(new URL('../docs/format.md', import.meta.url), 'utf8')

/** The objects of the example in docs/format.md, by key. */
const objects = new Map<string, Buffer>()
for (const [, kind, key = '', body = ''] of text.matchAll(/^```(hex|json) (\S+)\n(.*?)\n```$/gms)) {
  const hex = body.replaceAll(/^((?:[0-9a-f]{2}(?: |$))*).*$/gm, '$1').replaceAll(/\s/g, '')
  objects.set(key, kind === 'hex' ? Buffer.from(hex, 'hex') : Buffer.from(body))
}

function objectIn(folder: string): [string, Buffer] {
  const found = [...objects].find(([key]) => key.startsWith(folder))
  if (found === undefined) throw new Error(`docs/format.md shows no object in ${folder}`)
  return found
}

const pack = packOf([Buffer.from('everfold'), Buffer.from('pack')], 2, 0)

async function open(without: string): Promise<{ store: MemoryStore; repository: Repository }> {
  const store = new MemoryStore()
  for (const [key, bytes] of objects) if (!key.startsWith(without)) await store.put(key, [bytes])
  const index = new MemoryIndex()
  const repository = await Repository.open({ store, crew: new InlineCrew(), openIndex: async () => index })
  return { store, repository }
}

describe('the example of docs/format.md', () => {
  it('has an object of every kind', () => {
    expect([...objects.keys()].map((key) => key.split('/')[0])).toEqual([
      'everfold.json',
      'packs',
      'runs',
      'chains',
      'machines',
      'settings',
      'quarantine',
      'sessions',
      'sessions',
      'bundles',
    ])
  })

  it('shows the pack that the code makes', () => {
    const [key, bytes] = objectIn('packs/')
    expect(key).toBe(pack.key)
    expect(bytes.toString('hex')).toBe(Buffer.from(packBytes(pack)).toString('hex'))
  })

  it('shows the bundle that the code makes', () => {
    const [key, bytes] = objectIn('bundles/')
    const own = packBytes(pack)
    const tail = encodeBundleTail([
      { packId: pack.directory.id, generation: 0, offset: 0, length: own.length },
    ])
    expect(key).toBe(`bundles/${tail.id.slice(0, 2)}/${tail.id}`)
    expect(bytes.toString('hex')).toBe(Buffer.concat([own, tail.bytes]).toString('hex'))
  })

  it('shows the run segment that the code makes', () => {
    const [key, bytes] = objectIn('runs/')
    const packs = new PackTable()
    const list = new ExtentList(0, packs)
    const slot = packs.slotOf(pack.directory.id)
    list.append(0, 12, slot, 0, 0)
    list.append(12, 4, ZEROS, 0, 0)
    list.append(16, 4, slot, 0, 4)
    const run = encodeRun(list, 0, list.length)
    expect(key).toBe(`runs/web%201/${run.id}`)
    expect(bytes.toString('hex')).toBe(Buffer.from(run.bytes).toString('hex'))
  })

  it('shows the upload that the code makes, and that it can be gone on with', async () => {
    const [key] = objectIn('sessions/')
    const id = key.split('/')[1] ?? ''
    const [partKey, bytes] = objectIn(`sessions/${id}/0`)
    const packs = new PackTable()
    const extents = new ExtentList(0, packs)
    extents.append(0, 12, SAME, 0, 0)
    extents.append(12, 4, ZEROS, 0, 0)
    extents.append(16, 4, packs.slotOf(pack.directory.id), 0, 4)
    const header = { series: '00112233445566ff', number: 0 }
    const figures = { receivedBytes: 20, changedBytes: 8, newBytes: 0, storedBytes: 0 }
    expect(partKey).toBe(sessionPartKey(id, header.series, 0))
    expect(bytes.toString('hex')).toBe(
      Buffer.from(encodePart(header, { disk: 0, figures, extents })).toString('hex'),
    )
    const { repository } = await open('bundles/')
    const sessions = new Sessions(repository)
    const session = await sessions.get(id)
    if (!isOpen(session)) throw new Error('it is open')
    const { result } = await sessions.commit(session)
    expect(result).toMatchObject({ point: 'e5f6g7h8', kind: 'incremental', changedBytes: 8 })
    await sessions.close()
  })

  it.each([...objects.keys()].filter((key) => objects.get(key)?.[0] === 0x7b))(
    'shows %s as it is sealed',
    (key) => {
      const bytes = objects.get(key) ?? Buffer.alloc(0)
      const payload = openSealedJson(bytes)
      expect(payload).toBeDefined()
      const encode = key.startsWith('chains/')
        ? encodeChainState
        : key === 'everfold.json'
          ? encodeConfig
          : sealJson
      expect(Buffer.from(encode(payload as never)).toString()).toBe(bytes.toString())
    },
  )

  it.each(['bundles/', 'packs/'])(
    'is a repository that can be restored and verified, without %s',
    async (without) => {
      const { store, repository } = await open(without)
      expect(await repository.chains.allMachines()).toEqual(['web 1'])
      const { state } = await repository.chains.get('web 1')
      const plan = await planDisk(repository, state, 0, 'vda')
      const target = new MemoryTarget(plan.sizeBytes)
      await restoreDisk(repository, plan, target, () => {})
      expect(target.isWhole).toBe(true)
      expect(target.bytes.toString()).toBe('everfoldpack\0\0\0\0fold')
      expect(await verifyRepository(repository, { sample: 1 })).toMatchObject({ ok: true, points: 1 })
      expect(await readSettings(store)).toMatchObject({
        settings: { retention: { last: 7, daily: 30 } },
        next: 1,
      })
      const catalog = new PackCatalog(store)
      await catalog.quarantine.load(store)
      expect(catalog.quarantine.state).toMatchObject({ number: 0, round: 3 })
      expect([...(await repository.chains.registry.names())]).toEqual(['web 1'])
    },
  )

  it('names every key that a store may have', () => {
    for (const key of objects.keys()) expect(text).toContain(`| \`${key.split('/')[0] ?? ''}`)
  })
})
