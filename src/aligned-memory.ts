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

const shared = new WeakSet<ArrayBufferLike>()

/** Memory that threads share, and that begins on a page: for few and long-lived ones. What of it is never touched takes none. */
export function sharedAlignedMemory(bytes: number): SharedArrayBuffer {
  const { buffer } = makeMemory(bytes, true)
  if (!(buffer instanceof SharedArrayBuffer)) throw new Error('memory that was to be shared is not')
  shared.add(buffer)
  return buffer
}

/** Does it begin at a block of {@link sharedAlignedMemory}? */
export function isAligned({ buffer, byteOffset }: Uint8Array): boolean {
  return byteOffset % ALIGNED_BLOCK === 0 && shared.has(buffer)
}

/** What is used of WebAssembly, whose types come with those of browsers. */
interface Wasm {
  readonly Memory: new (pages: {
    initial: number
    maximum: number
    shared: boolean
  }) => { readonly buffer: ArrayBufferLike }
}

function makeMemory(bytes: number, isShared: boolean): { readonly buffer: ArrayBufferLike } {
  const pages = Math.ceil(bytes / WASM_PAGE)
  const { WebAssembly } = globalThis as unknown as { readonly WebAssembly: Wasm }
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: isShared })
}

function makeSlots(): Uint8Array<ArrayBuffer>[] {
  const { buffer } = makeMemory(SLOTS * ALIGNED_SLOT_BYTES, false)
  if (buffer instanceof SharedArrayBuffer) throw new Error('memory that was not to be shared is')
  return Array.from(
    { length: SLOTS },
    (_, slot) => new Uint8Array(buffer, slot * ALIGNED_SLOT_BYTES, ALIGNED_SLOT_BYTES),
  )
}
