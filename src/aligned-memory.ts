import { Gate } from './gate.js'

/** Divides every offset, length and address that reads and writes past the page cache may have, on every usual disk. */
export const ALIGNED_BLOCK = 4096

/** Bytes of one slot. */
export const ALIGNED_SLOT_BYTES = 2 * 1024 * 1024
const SLOTS = 6
const WASM_PAGE = 65_536

const gate = new Gate(SLOTS)
let free: Uint8Array<ArrayBuffer>[] | undefined

/**
 * Lends memory that begins on a page, as open(2) asks for with O_DIRECT; whoever comes when all of it is lent waits. Node tells
 * nobody where a buffer lies, but a WebAssembly memory always begins on a page.
 */
export async function withAlignedMemory<Result>(
  work: (memory: Uint8Array<ArrayBuffer>) => Promise<Result>,
): Promise<Result> {
  await gate.enter()
  free ??= makeSlots()
  const slot = free.pop()
  try {
    if (slot === undefined) throw new Error('more memory was lent than there is')
    return await work(slot)
  } finally {
    if (slot !== undefined) free.push(slot)
    gate.leave()
  }
}

/** What is used of WebAssembly, whose types come with those of browsers. */
interface Wasm {
  readonly Memory: new (pages: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer }
}

function makeSlots(): Uint8Array<ArrayBuffer>[] {
  const pages = (SLOTS * ALIGNED_SLOT_BYTES) / WASM_PAGE
  const { WebAssembly } = globalThis as unknown as { readonly WebAssembly: Wasm }
  const { buffer } = new WebAssembly.Memory({ initial: pages, maximum: pages })
  return Array.from(
    { length: SLOTS },
    (_, slot) => new Uint8Array(buffer, slot * ALIGNED_SLOT_BYTES, ALIGNED_SLOT_BYTES),
  )
}
