import { copyBytes } from '../copy-bytes.js'
import { GEAR } from './gear.js'
import { gearScanModule } from './gear-scan-module.js'

/** Finds the first boundary in the bytes that were loaded last. */
export interface GearScanner {
  /** From now on these are scanned. They may not change until the next ones. */
  load(bytes: Uint8Array): void
  /**
   * Hashes from `from` on, and looks for the first place whose hash meets a mask: `maskRare` before `normal`, `maskFrequent` from there
   * on. `from` <= `normal` <= `end`.
   * @returns that place, or `end` if there is none before it
   */
  scan(from: number, normal: number, end: number, maskRare: number, maskFrequent: number): number
}

/** For where there is no WebAssembly: a browser's page may forbid it. */
export class PlainScanner implements GearScanner {
  #bytes: Uint8Array = new Uint8Array(0)

  load(bytes: Uint8Array): void {
    this.#bytes = bytes
  }

  scan(from: number, normal: number, end: number, maskRare: number, maskFrequent: number): number {
    const bytes = this.#bytes
    let hash = 0
    let at = from
    for (; at < normal; at++) {
      hash = ((hash << 1) + (GEAR[bytes[at] ?? 0] ?? 0)) | 0
      if ((hash & maskRare) === 0) return at
    }
    for (; at < end; at++) {
      hash = ((hash << 1) + (GEAR[bytes[at] ?? 0] ?? 0)) | 0
      if ((hash & maskFrequent) === 0) return at
    }
    return end
  }
}

/** What is used of WebAssembly, whose types come with those of browsers. */
interface Wasm {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object) => { readonly exports: unknown }
}

interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number }
  readonly scan: GearScanner['scan']
}

const PAGE_BYTES = 64 * 1024

/** 2.5 times as fast as JavaScript, and fast from the first byte on (Node 20, 4 MiB of an ext4 image: 1.5 against 3.7 ms). */
class WasmScanner implements GearScanner {
  readonly #exports: Exports
  #memory: Uint8Array

  constructor(exports: Exports) {
    this.#exports = exports
    this.#memory = new Uint8Array(exports.memory.buffer)
    new Int32Array(exports.memory.buffer, 0, GEAR.length).set(GEAR)
  }

  load(bytes: Uint8Array): void {
    const missing = GEAR.byteLength + bytes.length - this.#memory.length
    if (missing > 0) {
      this.#exports.memory.grow(Math.ceil(missing / PAGE_BYTES))
      // Growing moves it.
      this.#memory = new Uint8Array(this.#exports.memory.buffer)
    }
    copyBytes(this.#memory, GEAR.byteLength, bytes)
  }

  scan(from: number, normal: number, end: number, maskRare: number, maskFrequent: number): number {
    const base = GEAR.byteLength
    return this.#exports.scan(base + from, base + normal, base + end, maskRare, maskFrequent) - base
  }
}

/** The fastest scanner that there is here. */
export function makeScanner(): GearScanner {
  const { WebAssembly } = globalThis as { readonly WebAssembly?: Wasm }
  if (WebAssembly === undefined) return new PlainScanner()
  try {
    const module = new WebAssembly.Module(gearScanModule())
    return new WasmScanner(new WebAssembly.Instance(module).exports as Exports)
  } catch {
    // A page's security policy refuses by throwing.
    return new PlainScanner()
  }
}
