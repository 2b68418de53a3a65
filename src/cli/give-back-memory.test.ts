import { describe, expect, it } from 'vitest'
import { giveBackMemory } from './give-back-memory.js'

const KIB = 1024

/** Memory that the C library hands out. */
async function allocator(): Promise<{ mappingsOf: (bytes: number) => number; isGlibc: boolean }> {
  const koffi = (await import('koffi')).default
  const library = koffi.load(null)
  const fields = 'arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost'.split(' ')
  const figures = koffi.struct(Object.fromEntries(fields.map((name) => [name, 'int'])))
  try {
    const mallinfo = library.func('mallinfo', figures, [])
    const malloc = library.func('void *malloc(size_t bytes)')
    const free = library.func('void free(void *memory)')
    const mappings = (): number => (mallinfo() as { hblks: number }).hblks
    const mappingsOf = (bytes: number): number => {
      const before = mappings()
      const memory: unknown = malloc(bytes)
      const took = mappings() - before
      free(memory)
      return took
    }
    return { mappingsOf, isGlibc: true }
  } catch {
    return { mappingsOf: () => 0, isGlibc: false }
  }
}

describe('memory that the C library is given back', () => {
  it('goes to the system where it is large, also after larger memory was freed', async (context) => {
    const { mappingsOf, isGlibc } = await allocator()
    if (!isGlibc) context.skip()
    // Left alone, the C library would from then on keep whatever is smaller than this.
    mappingsOf(8192 * KIB)
    await giveBackMemory()
    // Several times: other threads of this process take memory as well.
    const often = (bytes: number): number[] => Array.from({ length: 20 }, () => mappingsOf(bytes))
    expect(often(200 * KIB)).toContain(1)
    expect(often(100 * KIB)).toContain(0)
  })
})
