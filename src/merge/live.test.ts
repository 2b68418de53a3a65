import { describe, expect, it } from 'vitest'
import { ExtentList, ZEROS } from '../chain/extent-list.js'
import { bytesToHex, sha256 } from '../checksum.js'
import type { PackDirectory } from '../pack/pack-format.js'
import { partOf, References } from './live.js'

const [A, B] = [idOf('a'), idOf('b')]

function idOf(name: string): string {
  return bytesToHex(sha256(Buffer.from(name)))
}

/** As much of a directory as marking looks at: chunks of 10, 20, 30, … bytes. */
function directoryOf(id: string, chunkCount: number): PackDirectory {
  const chunkStart = new Float64Array(chunkCount + 1)
  for (let i = 0; i < chunkCount; i++) chunkStart[i + 1] = (chunkStart[i] ?? 0) + 10 * (i + 1)
  const partial: Partial<PackDirectory> = { id, chunkCount, chunkStart }
  return partial as PackDirectory
}

function marked(references: References, id: string, chunks: number): string[] {
  const found: string[] = []
  references.chunksOf(directoryOf(id, chunks), (chunk, tag) => found.push(`${chunk} by ${tag}`))
  return found.sort()
}

describe('references', () => {
  it('name every chunk that an extent touches, once for each extent', () => {
    const references = new References()
    const list = new ExtentList(0, references.packs)
    list.append(0, 35, references.packs.slotOf(A), 1, 15)
    list.append(35, 100, ZEROS, 0, 0)
    list.append(135, 1, references.packs.slotOf(A), 2, 0)
    list.append(136, 5, references.packs.slotOf(B), 0, 0)
    references.add(list, 7)
    references.add(list.slice(135, 136), 0)
    expect(marked(references, A, 4)).toEqual(['1 by 7', '2 by 0', '2 by 7', '2 by 7'])
    expect(marked(references, B, 1)).toEqual(['0 by 7'])
    expect(references.count).toBe(4)
    expect([references.has(A), references.has(idOf('c'))]).toEqual([true, false])
  })

  it('to more packs than one block holds are all found, and those to unwanted packs are not kept', () => {
    const count = 70_000
    const isWanted = (id: string): boolean => partOf(id, 2) === 0
    const references = new References(isWanted)
    const ids = [A, B, idOf('c'), idOf('d'), idOf('e')]
    const list = new ExtentList(0, references.packs, 3 * count)
    for (let i = 0; i < 3 * count; i++)
      list.append(i, 1, references.packs.slotOf(ids[i % 5] ?? ''), 0, i % 10)
    references.add(list, 0)
    const wanted = ids.filter(isWanted)
    expect(wanted.length).toBeGreaterThan(0)
    expect(wanted.length).toBeLessThan(5)
    expect(references.count).toBe((wanted.length * 3 * count) / 5)
    for (const id of ids) expect(references.has(id)).toBe(isWanted(id))
    for (const id of wanted) expect(marked(references, id, 3)).toHaveLength((3 * count) / 5)
  })
})
