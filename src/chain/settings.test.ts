import { describe, expect, it } from 'vitest'
import { type DecideFault, FaultyStore } from '../store/faulty-store.js'
import { settingsKey } from '../store/keys.js'
import { MemoryStore } from '../store/memory-store.js'
import { readSettings, writeSettings } from './settings.js'

const daily = { retention: { daily: 7, timeZone: 'Europe/Berlin' } }
const last = { retention: { last: 3 } }

async function storeWith(...all: readonly Parameters<typeof writeSettings>[2][]): Promise<MemoryStore> {
  const store = new MemoryStore()
  for (const [number, settings] of all.entries()) await writeSettings(store, number, settings)
  return store
}

function faulty(store: MemoryStore, decide: DecideFault): FaultyStore {
  return new FaultyStore(store, decide)
}

describe('settings', () => {
  it('are empty in a repository where none were set', async () => {
    expect(await readSettings(new MemoryStore())).toEqual({ settings: {}, damaged: [], next: 0 })
  })

  it('are those that were written last, and can be emptied again', async () => {
    const store = await storeWith(daily, last)
    expect(await readSettings(store)).toEqual({ settings: last, damaged: [], next: 2 })
    await writeSettings(store, 2, {})
    expect(await readSettings(store)).toEqual({ settings: {}, damaged: [], next: 3 })
  })

  it('are stored as text that stays the same for ever', async () => {
    const store = await storeWith(daily)
    expect(Buffer.from(await store.readAll('settings/000000000000')).toString()).toBe(
      '{"everfold":"settings","format":1,"number":0,"retention":{"daily":7,"timeZone":"Europe/Berlin"},' +
        '"sha256":"2dff6324dea70647e949351791501dc37d4f496d3444c7e2544038a6f368d007"}',
    )
  })

  it('are found by asking for the next number, when the listing leaves out the newest', async () => {
    const store = await storeWith(daily, {}, last)
    const short = faulty(store, (operation) =>
      operation === 'list' ? { kind: 'partial-listing', drops: (key) => key !== settingsKey(0) } : undefined,
    )
    expect(await readSettings(short)).toEqual({ settings: last, damaged: [], next: 3 })
    const empty = faulty(store, (operation) => (operation === 'list' ? { kind: 'empty-listing' } : undefined))
    expect(await readSettings(empty)).toEqual({ settings: last, damaged: [], next: 3 })
  })

  it('fall back to the ones below damaged ones, and say so', async () => {
    const store = await storeWith(daily, last, {})
    const flipped = faulty(store, (operation, key) =>
      operation === 'readAll' && key !== settingsKey(0) ? { kind: 'flipped-bit', bit: 100 } : undefined,
    )
    expect(await readSettings(flipped)).toEqual({ settings: daily, damaged: [2, 1], next: 3 })
    const all = faulty(store, (operation) =>
      operation === 'readAll' ? { kind: 'flipped-bit', bit: 100 } : undefined,
    )
    expect(await readSettings(all)).toEqual({ settings: {}, damaged: [2, 1, 0], next: 3 })
  })

  it('do not count under another number: an object that was copied there is damaged', async () => {
    const store = await storeWith(daily)
    await store.put(settingsKey(1), [await store.readAll(settingsKey(0))])
    expect(await readSettings(store)).toEqual({ settings: daily, damaged: [1], next: 2 })
  })

  it('are not taken as damaged when the store cannot be asked', async () => {
    const store = await storeWith(daily)
    for (const failing of ['list', 'size', 'readAll']) {
      const down = faulty(store, (operation) =>
        operation === failing ? { kind: 'error-before' } : undefined,
      )
      await expect(readSettings(down)).rejects.toMatchObject({ code: 'STORE_FAILED' })
    }
  })

  it('of two writers keep the faster one and tell the other', async () => {
    const store = await storeWith(daily)
    await expect(writeSettings(store, 0, last)).rejects.toMatchObject({ code: 'CONFLICT' })
    expect(await readSettings(store)).toMatchObject({ settings: daily, next: 1 })
  })
})
