import { describe, expect, it } from 'vitest'
import { cutBatch } from './cut-batch.js'
import { InlineWorkers } from './inline-workers.js'

const SIZE = 10_000
const batch = (final: boolean) => ({
  plain: new ArrayBuffer(SIZE),
  pieces: [{ offset: 0, length: SIZE }],
  final,
  disk: { contentDefined: true },
})
const workersWith = (lengths: readonly number[]) =>
  Object.assign(new InlineWorkers(), {
    cut: () => Promise.resolve({ plain: new ArrayBuffer(SIZE), lengths: Uint32Array.from(lengths) }),
  })

describe("a caller's own workers", () => {
  it('may leave the tail of a batch to the next one, but nothing of one that ends', async () => {
    const { tail } = await cutBatch(workersWith([4096]), batch(false), 4096)
    expect(tail.length).toBe(SIZE - 4096)
    await expect(cutBatch(workersWith([4096]), batch(true), 4096)).rejects.toThrow(/4096 bytes out of 10000/)
  })

  it('cannot make more of a batch than there is', async () => {
    await expect(cutBatch(workersWith([8192, 4096]), batch(false), 4096)).rejects.toThrow(/12288 bytes/)
  })
})
