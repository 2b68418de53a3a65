/**
 * What every store must do, whatever it is made of. An implementation, or a decorator around one, adopts it with
 *
 *   storeContract('MyStore', () => new MyStore())
 */

import { createHash } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Store } from '../../src/store/store.js'

const MIB = 1024 * 1024

/** @param makeStore gives an empty store each time. The suite closes it. */
export function storeContract(name: string, makeStore: () => Store | Promise<Store>): void {
  describe(`${name} keeps the contract of a store:`, () => {
    let store: Store

    beforeEach(async () => {
      store = await makeStore()
    })

    afterEach(async () => {
      await store.close()
    })

    describe('put', () => {
      it('stores the parts one after the other, exactly', async () => {
        expect(await store.put('runs/m/a', [bytes(1, 2), bytes(), bytes(3), bytes(4, 5, 6)])).toBe('created')
        expect(await store.readAll('runs/m/a')).toEqual(bytes(1, 2, 3, 4, 5, 6))
        expect(await store.size('runs/m/a')).toBe(6)
      })

      it('stores exactly the window of a part that is a view into something larger', async () => {
        const whole = bytes(9, 9, 1, 2, 3, 9)
        await store.put('a', [whole.subarray(2, 5), new Uint8Array(Buffer.from('xyz'))])
        expect(await store.readAll('a')).toEqual(bytes(1, 2, 3, 0x78, 0x79, 0x7a))
      })

      it('is not changed by what happens to the parts afterwards', async () => {
        const part = bytes(1, 2, 3)
        await store.put('a', [part])
        part.fill(0)
        expect(await store.readAll('a')).toEqual(bytes(1, 2, 3))
      })

      it('refuses to overwrite: the first object stays, the second writer is told', async () => {
        expect(await store.put('a', [bytes(1)])).toBe('created')
        expect(await store.put('a', [bytes(2, 2)])).toBe('exists')
        expect(await store.readAll('a')).toEqual(bytes(1))
      })

      it('lets exactly one of 32 racing writers create the object, and its content stays', async () => {
        for (let round = 0; round < 5; round++) {
          const key = `chains/m/${round}`
          const answers = await Promise.all(
            Array.from({ length: 32 }, (_, writer) =>
              store.put(key, [pattern(1000, writer), pattern(writer, 77)]),
            ),
          )
          const winners = answers.flatMap((answer, writer) => (answer === 'created' ? [writer] : []))
          expect(winners).toHaveLength(1)
          expect(answers.filter((answer) => answer === 'exists')).toHaveLength(31)
          const winner = winners[0]!
          const expected = Buffer.concat([pattern(1000, winner), pattern(winner, 77)])
          expect(Buffer.from(await store.readAll(key)).equals(expected)).toBe(true)
        }
      })

      it('stores an empty object', async () => {
        expect(await store.put('none', [])).toBe('created')
        expect(await store.put('empty', [bytes(), bytes()])).toBe('created')
        for (const key of ['none', 'empty']) {
          expect(await store.size(key)).toBe(0)
          expect(await store.readAll(key)).toEqual(bytes())
          expect(await store.read(key, 0, 0)).toEqual(bytes())
          expect(await store.readTail(key, 10)).toEqual({ bytes: bytes(), sizeBytes: 0 })
        }
      })

      it('stores 40 MiB in 3000 parts of many sizes', async () => {
        const parts: Uint8Array[] = []
        let left = 40 * MIB
        for (let index = 0; index < 2999; index++) {
          const size = (index * 7919) % 26_000
          parts.push(pattern(size, index))
          left -= size
        }
        parts.push(pattern(left, 2999))
        expect(await store.put('packs/big', parts)).toBe('created')
        expect(await store.size('packs/big')).toBe(40 * MIB)
        const expected = createHash('sha256')
        for (const part of parts) expected.update(part)
        const actual = createHash('sha256').update(await store.readAll('packs/big'))
        expect(actual.digest('hex')).toBe(expected.digest('hex'))
        expect(Buffer.from(await store.read('packs/big', 40 * MIB - 5, 5))).toEqual(
          Buffer.from(parts.at(-1)!.slice(-5)),
        )
      })

      it('keeps objects apart whose keys share a beginning', async () => {
        const keys = ['a', 'ab', 'b/a', 'b/ab', 'b/a.0', 'b/a.1', 'b/A%20']
        await Promise.all(keys.map((key, index) => store.put(key, [pattern(50, index)])))
        for (const [index, key] of keys.entries())
          expect(await store.readAll(key)).toEqual(pattern(50, index))
      })
    })

    describe('read', () => {
      const size = 1000
      const content = pattern(size, 3)

      beforeEach(async () => {
        await store.put('object', [content.subarray(0, 400), content.subarray(400)])
      })

      it.each([
        [0, 0],
        [0, 1],
        [0, size],
        [1, size - 1],
        [size - 1, 1],
        [size, 0],
        [399, 2],
        [400, 1],
        [123, 456],
      ])('gives exactly the range from %i, %i bytes long', async (offset, length) => {
        expect(await store.read('object', offset, length)).toEqual(content.slice(offset, offset + length))
      })

      it('fills memory of the caller with the range, where it can, and says the same of what is not there', async () => {
        if (store.readInto === undefined) return
        for (const [offset, length] of [
          [0, size],
          [123, 456],
          [size, 0],
        ] as const) {
          const into = new Uint8Array(new SharedArrayBuffer(length + 2), 1, length)
          await store.readInto('object', offset, into)
          expect(into.slice()).toEqual(content.slice(offset, offset + length))
        }
        for (const offset of [1, size, size * 10])
          await expect(store.readInto('object', offset, new Uint8Array(size))).rejects.toMatchObject({
            code: 'DATA_DAMAGED',
          })
        await expect(store.readInto('missing', 0, new Uint8Array(1))).rejects.toMatchObject({
          code: 'OBJECT_NOT_FOUND',
        })
      })

      it.each([
        [0, size + 1],
        [size, 1],
        [size - 1, 2],
        [size + 1, 0],
        [size * 10, 5],
      ])(
        'says DATA_DAMAGED when the object ends before the range from %i, %i bytes long',
        async (offset, length) => {
          await expect(store.read('object', offset, length)).rejects.toMatchObject({ code: 'DATA_DAMAGED' })
        },
      )

      it('gives the tail and the size, and all of an object shorter than the tail', async () => {
        expect(await store.readTail('object', 10)).toEqual({ bytes: content.slice(-10), sizeBytes: size })
        expect(await store.readTail('object', size)).toEqual({ bytes: content, sizeBytes: size })
        expect(await store.readTail('object', size + 1)).toEqual({ bytes: content, sizeBytes: size })
        expect(await store.readTail('object', 0)).toEqual({ bytes: bytes(), sizeBytes: size })
      })

      it('gives results that own their whole ArrayBuffer and can be transferred', async () => {
        const results = [
          await store.read('object', 5, 20),
          await store.read('object', 5, 0),
          await store.readAll('object'),
          (await store.readTail('object', 7)).bytes,
          (await store.readTail('object', size * 2)).bytes,
        ]
        for (const result of results) {
          expect(Object.getPrototypeOf(result)).toBe(Uint8Array.prototype)
          expect(result.byteOffset).toBe(0)
          expect(result.buffer.byteLength).toBe(result.length)
          const moved = structuredClone(result, { transfer: [result.buffer] })
          expect(result.length).toBe(0)
          expect(moved.byteOffset).toBe(0)
        }
        expect(await store.readAll('object')).toEqual(content)
      })

      it('gives results that share nothing with the object or with each other', async () => {
        const first = await store.read('object', 0, size)
        first.fill(0)
        expect(await store.read('object', 0, size)).toEqual(content)
      })

      it('serves many readers of many objects at once', async () => {
        const count = 150
        await Promise.all(range(count).map((index) => store.put(`many/${index}`, [pattern(300, index)])))
        await Promise.all(
          range(count * 4).map(async (turn) => {
            const index = (turn * 37) % count
            expect(await store.read(`many/${index}`, 10, 200)).toEqual(pattern(300, index).slice(10, 210))
          }),
        )
      })
    })

    describe('a missing object', () => {
      it('is OBJECT_NOT_FOUND to every read, and has no size', async () => {
        await store.put('there/is', [bytes(1)])
        for (const key of ['missing', 'there/is-not', 'no/folder/either']) {
          const code = { code: 'OBJECT_NOT_FOUND' }
          await expect(store.read(key, 0, 1)).rejects.toMatchObject(code)
          await expect(store.read(key, 0, 0)).rejects.toMatchObject(code)
          await expect(store.readAll(key)).rejects.toMatchObject(code)
          await expect(store.readTail(key, 1)).rejects.toMatchObject(code)
          expect(await store.size(key)).toBeUndefined()
        }
      })

      it('can be created after it was looked for in vain', async () => {
        await expect(store.readAll('late')).rejects.toMatchObject({ code: 'OBJECT_NOT_FOUND' })
        expect(await store.put('late', [bytes(1)])).toBe('created')
        expect(await store.readAll('late')).toEqual(bytes(1))
      })
    })

    describe('remove', () => {
      it('removes the object and nothing else', async () => {
        await store.put('a/x', [bytes(1)])
        await store.put('a/xy', [bytes(2)])
        await store.remove('a/x')
        expect(await store.size('a/x')).toBeUndefined()
        await expect(store.readAll('a/x')).rejects.toMatchObject({ code: 'OBJECT_NOT_FOUND' })
        expect(await listed('')).toEqual(['a/xy:1'])
      })

      it('removes what was read a moment ago', async () => {
        await store.put('a', [bytes(1)])
        await store.read('a', 0, 1)
        await store.remove('a')
        await expect(store.read('a', 0, 1)).rejects.toMatchObject({ code: 'OBJECT_NOT_FOUND' })
      })

      it('is no error when nothing is there, once or twice', async () => {
        await store.put('a', [bytes(1)])
        await store.remove('a')
        await store.remove('a')
        await store.remove('never/was')
      })

      it('frees the key for another object, whose content is the new one', async () => {
        await store.put('a', [bytes(1, 1, 1)])
        await store.read('a', 0, 3)
        await store.remove('a')
        expect(await store.put('a', [bytes(2, 2)])).toBe('created')
        expect(await store.read('a', 0, 2)).toEqual(bytes(2, 2))
        expect(await store.readAll('a')).toEqual(bytes(2, 2))
      })
    })

    it('settles what is there, and what is not', async () => {
      await store.put('packs/ab/one.0', [bytes(1)])
      await store.settle('packs/')
      await store.settle('packs/ab/')
      await store.settle('chains/')
      expect(await store.readAll('packs/ab/one.0')).toEqual(bytes(1))
    })

    describe('list', () => {
      beforeEach(async () => {
        const keys = ['everfold.json', 'packs/ab/one.0', 'packs/ab/two.0', 'packs/cd/three.1', 'packs2/x']
        await Promise.all(keys.map((key, index) => store.put(key, [pattern(index, 0)])))
      })

      it('gives every object with its size', async () => {
        expect(await listed('')).toEqual([
          'everfold.json:0',
          'packs/ab/one.0:1',
          'packs/ab/two.0:2',
          'packs/cd/three.1:3',
          'packs2/x:4',
        ])
      })

      it('gives the objects below a prefix only', async () => {
        expect(await listed('packs/')).toEqual(['packs/ab/one.0:1', 'packs/ab/two.0:2', 'packs/cd/three.1:3'])
        expect(await listed('packs/ab/')).toEqual(['packs/ab/one.0:1', 'packs/ab/two.0:2'])
      })

      it('gives nothing below a prefix that no object has', async () => {
        expect(await listed('chains/')).toEqual([])
        expect(await listed('packs/ef/')).toEqual([])
      })

      it('keeps giving what was there all along while others add and remove', async () => {
        await Promise.all(range(100).map((index) => store.put(`list/stays-${index}`, [bytes(1)])))
        await Promise.all(range(100).map((index) => store.put(`list/goes-${index}`, [bytes(1)])))
        const [keys] = await Promise.all([
          listed('list/'),
          ...range(100).map((index) => store.remove(`list/goes-${index}`)),
          ...range(20).map((index) => store.put(`list/comes-${index}`, [bytes(1)])),
        ])
        const stayed = keys.filter((key) => key.startsWith('list/stays-'))
        expect(stayed).toHaveLength(100)
        expect(new Set(keys).size).toBe(keys.length)
      })
    })

    it('says where it is, for people', () => {
      expect(store.location).not.toBe('')
    })

    async function listed(prefix: string): Promise<string[]> {
      const keys: string[] = []
      for await (const { key, sizeBytes } of store.list(prefix)) keys.push(`${key}:${sizeBytes}`)
      return keys.sort()
    }
  })
}

function bytes(...values: number[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(values)
}

/** `length` bytes that differ with `seed` and from their neighbours. */
function pattern(length: number, seed: number): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(length)
  let value = seed * 2_654_435_761 + 12_345
  for (let index = 0; index < length; index++) {
    value = (Math.imul(value, 1_103_515_245) + 12_345) >>> 0
    result[index] = value >>> 16
  }
  return result
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index)
}
