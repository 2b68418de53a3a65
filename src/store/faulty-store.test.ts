import { describe, expect, it } from 'vitest'
import { VolatileFileSystem } from '../simulate/volatile-file-system.js'
import { type Fault, FaultyStore, type StoreOperation } from './faulty-store.js'
import { LocalStore } from './local-store.js'
import { MemoryStore } from './memory-store.js'
import type { Store } from './store.js'

const content = Uint8Array.from({ length: 10 }, (_, index) => index)

const operations: [StoreOperation, (store: Store) => Promise<unknown>][] = [
  ['read', (store) => store.read('a', 0, 10)],
  ['readAll', (store) => store.readAll('a')],
  ['readTail', (store) => store.readTail('a', 10)],
  ['size', (store) => store.size('a')],
  ['list', (store) => keysOf(store)],
  ['put', (store) => store.put('new', [content])],
  ['remove', (store) => store.remove('a')],
]

describe('a store with faults', () => {
  it.each(operations)('fails %s before anything happened', async (operation, call) => {
    const { store, inner } = await faulty(operation, { kind: 'error-before' })
    await expect(call(store)).rejects.toMatchObject({ code: 'STORE_FAILED' })
    expect(await keysOf(inner)).toEqual(['a', 'b/c'])
  })

  it.each(operations)('fails %s after it happened', async (operation, call) => {
    const error = new Error('the answer was lost')
    const { store, inner } = await faulty(operation, { kind: 'error-after', error })
    await expect(call(store)).rejects.toBe(error)
    const left = { put: ['a', 'b/c', 'new'], remove: ['b/c'] }[operation as string] ?? ['a', 'b/c']
    expect(await keysOf(inner)).toEqual(left)
  })

  it.each(operations)('delays %s until it is let go', async (operation, call) => {
    let letGo = (): void => {}
    const waiting = new Promise<void>((resolve) => (letGo = resolve))
    const { store } = await faulty(operation, { kind: 'delay', wait: () => waiting })
    let isDone = false
    const done = call(store).then(() => (isDone = true))
    await new Promise(setImmediate)
    expect(isDone).toBe(false)
    letGo()
    await done
  })

  it('is full for a put, which leaves nothing', async () => {
    const { store, inner } = await faulty('put', { kind: 'full' })
    await expect(store.put('new', [content])).rejects.toMatchObject({ code: 'STORE_FULL' })
    expect(await keysOf(inner)).toEqual(['a', 'b/c'])
  })

  it('reads an object as if it were cut short', async () => {
    const fault: Fault = { kind: 'short-read', lengthBytes: 6 }
    const { store } = await faulty('read', fault)
    expect(await store.read('a', 2, 4)).toEqual(content.slice(2, 6))
    await expect(store.read('a', 2, 5)).rejects.toMatchObject({ code: 'DATA_DAMAGED' })
    expect(await (await faulty('readAll', fault)).store.readAll('a')).toEqual(content.slice(0, 6))
    const { store: tails } = await faulty('readTail', fault)
    expect(await tails.readTail('a', 4)).toEqual({ bytes: content.slice(2, 6), sizeBytes: 6 })
    expect(await tails.readTail('a', 40)).toEqual({ bytes: content.slice(0, 6), sizeBytes: 6 })
  })

  it('flips one bit of the object, wherever the range begins, and not of what is stored', async () => {
    const fault: Fault = { kind: 'flipped-bit', bit: 8 * 5 + 7 }
    const flipped = content.slice()
    flipped[5] = 5 + 128
    const { store, inner } = await faulty('read', fault)
    expect(await store.read('a', 0, 10)).toEqual(flipped)
    expect(await store.read('a', 5, 1)).toEqual(flipped.slice(5, 6))
    expect(await store.read('a', 0, 5)).toEqual(content.slice(0, 5))
    expect(await store.read('a', 6, 4)).toEqual(content.slice(6))
    expect(await (await faulty('readAll', fault)).store.readAll('a')).toEqual(flipped)
    const { store: tails } = await faulty('readTail', fault)
    expect((await tails.readTail('a', 6)).bytes).toEqual(flipped.slice(4))
    expect((await tails.readTail('a', 2)).bytes).toEqual(content.slice(8))
    expect(await inner.readAll('a')).toEqual(content)
  })

  it('lists a part of what is there, or nothing, without an error', async () => {
    const partial = await faulty('list', { kind: 'partial-listing', drops: (key) => key === 'a' })
    expect(await keysOf(partial.store)).toEqual(['b/c'])
    expect(await keysOf((await faulty('list', { kind: 'empty-listing' })).store)).toEqual([])
  })

  it('asks once per call, with its operation and key, in order', async () => {
    const asked: string[] = []
    const store = new FaultyStore(new MemoryStore(), (operation, key) => {
      asked.push(`${operation} ${key}`)
      return undefined
    })
    await store.put('a', [content])
    await store.readTail('a', 3)
    await keysOf(store, 'b/')
    expect(asked).toEqual(['put a', 'readTail a', 'list b/'])
  })

  it('begins no object where the other store cannot', () => {
    expect(new FaultyStore(new MemoryStore(), () => undefined).begin).toBeUndefined()
  })

  it.each(['error-before', 'error-after'] as const)(
    'spoils each step of an object that comes bit by bit (%s), and leaves nothing of it but what got its name',
    async (kind) => {
      for (const spoiled of ['begin', 'append', 'put'] as const) {
        const fileSystem = new VolatileFileSystem()
        const inner = await LocalStore.open('/store', { fileSystem, create: true })
        const store = new FaultyStore(inner, (asked) => (asked === spoiled ? { kind } : undefined))
        const write = async (): Promise<void> => {
          const begun = await store.begin?.()
          try {
            await begun?.append([content])
            await begun?.put('a', [content])
          } catch (error) {
            await begun?.discard()
            throw error
          }
        }
        await expect(write()).rejects.toMatchObject({ code: 'STORE_FAILED' })
        expect(await keysOf(inner)).toEqual(spoiled === 'put' && kind === 'error-after' ? ['a'] : [])
        expect(fileSystem.files().filter((path) => path.startsWith('/store/tmp/'))).toEqual([])
        expect(fileSystem.unclosed).toBe(0)
      }
    },
  )

  it('calls a fault that cannot happen to the operation a mistake of the test', async () => {
    const flip: Fault = { kind: 'flipped-bit', bit: 0 }
    await expect((await faulty('put', flip)).store.put('new', [])).rejects.toThrow(/the test is wrong/u)
    await expect((await faulty('readAll', { kind: 'full' })).store.readAll('a')).rejects.toThrow(
      /the test is wrong/u,
    )
    await expect(keysOf((await faulty('list', flip)).store)).rejects.toThrow(/the test is wrong/u)
  })
})

describe('a memory store', () => {
  it('refuses what goes beyond its capacity, and takes it when there is space', async () => {
    const store = new MemoryStore({ capacityBytes: 15 })
    await store.put('a', [content])
    await expect(store.put('b', [content])).rejects.toMatchObject({ code: 'STORE_FULL' })
    expect(await store.size('b')).toBeUndefined()
    expect(await store.put('a', [content])).toBe('exists')
    expect(await store.put('c', [content.subarray(5)])).toBe('created')
    expect(store.usedBytes).toBe(15)
    await store.remove('a')
    await store.remove('a')
    expect(store.usedBytes).toBe(5)
    expect(await store.put('b', [content])).toBe('created')
  })
})

async function faulty(operation: StoreOperation, fault: Fault): Promise<{ store: Store; inner: Store }> {
  const inner = new MemoryStore()
  await inner.put('a', [content])
  await inner.put('b/c', [content])
  return { inner, store: new FaultyStore(inner, (asked) => (asked === operation ? fault : undefined)) }
}

async function keysOf(store: Store, prefix = ''): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of store.list(prefix)) keys.push(key)
  return keys.sort()
}
