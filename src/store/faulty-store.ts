import { EverfoldError } from '../errors.js'
import { storeFull } from './local-errors.js'
import type { BegunObject, Store, StoredObject } from './store.js'

export type StoreOperation =
  | 'read'
  | 'readAll'
  | 'readTail'
  | 'size'
  | 'list'
  | 'settle'
  | 'put'
  | 'begin'
  | 'append'
  | 'remove'

/** What goes wrong with one call. A fault that makes no sense for the operation (a bit flipped in a put) is a bug of the test. */
export type Fault =
  /** Fails, and nothing happened. STORE_FAILED unless `error` is given. */
  | { readonly kind: 'error-before'; readonly error?: Error }
  /** Happens, and then fails: the answer was lost. A listing fails at its end. */
  | { readonly kind: 'error-after'; readonly error?: Error }
  /**
   * The object ends after `lengthBytes` bytes. A `read` beyond that is DATA_DAMAGED, as the contract has it;
   * `readAll` and `readTail` give what a truncated object gives.
   */
  | { readonly kind: 'short-read'; readonly lengthBytes: number }
  /** Bit `bit` (from the first byte's least significant one) of the object is flipped, if the range has it. */
  | { readonly kind: 'flipped-bit'; readonly bit: number }
  /** STORE_FULL, nothing was written. */
  | { readonly kind: 'full' }
  /** Waits first. The test brings its own clock, or holds the promise until it wants the call to go on. */
  | { readonly kind: 'delay'; readonly wait: () => Promise<void> }
  /** A listing leaves out what `drops` says. */
  | { readonly kind: 'partial-listing'; readonly drops: (key: string) => boolean }
  | { readonly kind: 'empty-listing' }

/** Asked once per call, with the key (or prefix, or nothing where there is no key yet) before anything is done. Undefined: all goes well. */
export type DecideFault = (operation: StoreOperation, key: string) => Fault | undefined

type Bytes = Uint8Array<ArrayBuffer>

/**
 * A store around another one, in which whatever `decide` says goes wrong. Has no randomness and no clock of its own:
 * the same decisions give the same run.
 */
export class FaultyStore implements Store {
  readonly #inner: Store
  readonly #decide: DecideFault
  /** Where the store around which this is has it. */
  readonly begin?: () => Promise<BegunObject>

  constructor(inner: Store, decide: DecideFault) {
    this.#inner = inner
    this.#decide = decide
    if (inner.begin !== undefined) this.begin = () => this.#begin()
  }

  get location(): string {
    return this.#inner.location
  }

  async read(key: string, offset: number, length: number): Promise<Bytes> {
    return this.#call(
      'read',
      key,
      () => this.#inner.read(key, offset, length),
      (fault, bytes) => {
        if (fault.kind === 'flipped-bit') return flip(bytes, fault.bit - offset * 8)
        if (fault.kind !== 'short-read') return undefined
        if (offset + length <= fault.lengthBytes) return bytes
        const message = `The object ${key} ends before byte ${offset + length} (injected).`
        throw new EverfoldError('DATA_DAMAGED', message, { details: { key } })
      },
    )
  }

  async readAll(key: string): Promise<Bytes> {
    return this.#call(
      'readAll',
      key,
      () => this.#inner.readAll(key),
      (fault, bytes) => {
        if (fault.kind === 'flipped-bit') return flip(bytes, fault.bit)
        return fault.kind === 'short-read' ? bytes.slice(0, fault.lengthBytes) : undefined
      },
    )
  }

  async readTail(key: string, length: number): Promise<{ bytes: Bytes; sizeBytes: number }> {
    return this.#call(
      'readTail',
      key,
      () => this.#inner.readTail(key, length),
      async (fault, tail) => {
        if (fault.kind === 'flipped-bit') {
          return { ...tail, bytes: flip(tail.bytes, fault.bit - (tail.sizeBytes - tail.bytes.length) * 8) }
        }
        if (fault.kind !== 'short-read') return undefined
        const sizeBytes = Math.min(tail.sizeBytes, fault.lengthBytes)
        const offset = Math.max(0, sizeBytes - length)
        return { bytes: await this.#inner.read(key, offset, sizeBytes - offset), sizeBytes }
      },
    )
  }

  async size(key: string): Promise<number | undefined> {
    return this.#call('size', key, () => this.#inner.size(key))
  }

  async *list(prefix: string): AsyncGenerator<StoredObject, void, undefined> {
    const fault = await this.#before('list', prefix)
    if (fault?.kind === 'empty-listing') return
    for await (const object of this.#inner.list(prefix)) {
      if (fault?.kind !== 'partial-listing' || !fault.drops(object.key)) yield object
    }
    if (fault?.kind === 'error-after') throw failure(fault, 'list', prefix)
    if (fault !== undefined && fault.kind !== 'partial-listing') throw nonsense(fault, 'list')
  }

  async settle(prefix: string): Promise<void> {
    return this.#call('settle', prefix, () => this.#inner.settle(prefix))
  }

  async put(key: string, parts: readonly Uint8Array[]): Promise<'created' | 'exists'> {
    return this.#call('put', key, () => this.#inner.put(key, parts))
  }

  async #begin(): Promise<BegunObject> {
    const fault = await this.#before('begin', '')
    const begun = await this.#inner.begin?.()
    if (begun === undefined) throw new Error('whoever began an object can always begin one')
    if (fault !== undefined) {
      // Whoever never heard of it cannot discard it.
      await begun.discard()
      throw fault.kind === 'error-after' ? failure(fault, 'begin', '') : nonsense(fault, 'begin')
    }
    return {
      append: (parts) => this.#call('append', '', () => begun.append(parts)),
      put: (key, parts) => this.#put(key, begun, parts),
      discard: () => begun.discard(),
    }
  }

  async #put(key: string, begun: BegunObject, parts: readonly Uint8Array[]): Promise<'created' | 'exists'> {
    try {
      return await this.#call('put', key, () => begun.put(key, parts))
    } catch (error) {
      // It may not have come that far.
      await begun.discard()
      throw error
    }
  }

  async remove(key: string): Promise<void> {
    return this.#call('remove', key, () => this.#inner.remove(key))
  }

  async close(): Promise<void> {
    return this.#inner.close()
  }

  /** @param spoil  what the fault makes of the result; undefined if it cannot happen to this operation. */
  async #call<Result>(
    operation: StoreOperation,
    key: string,
    work: () => Promise<Result>,
    spoil?: (fault: Fault, result: Result) => Result | undefined | Promise<Result | undefined>,
  ): Promise<Result> {
    const fault = await this.#before(operation, key)
    const result = await work()
    if (fault === undefined) return result
    if (fault.kind === 'error-after') throw failure(fault, operation, key)
    const spoiled = await spoil?.(fault, result)
    if (spoiled === undefined) throw nonsense(fault, operation)
    return spoiled
  }

  /** @returns the fault, unless it is over before the call begins. */
  async #before(operation: StoreOperation, key: string): Promise<Fault | undefined> {
    const fault = this.#decide(operation, key)
    if (fault?.kind === 'error-before') throw failure(fault, operation, key)
    if (fault?.kind === 'full' && NEEDS_SPACE.has(operation)) throw storeFull(`write ${key}`, this.location)
    if (fault?.kind !== 'delay') return fault
    await fault.wait()
    return undefined
  }
}

const NEEDS_SPACE: ReadonlySet<StoreOperation> = new Set(['put', 'begin', 'append'])

function failure(fault: { readonly error?: Error }, operation: StoreOperation, key: string): Error {
  if (fault.error !== undefined) return fault.error
  return new EverfoldError('STORE_FAILED', `The store failed to ${operation} ${key} (injected).`, {
    details: { key },
  })
}

function nonsense(fault: Fault, operation: StoreOperation): Error {
  return new Error(`A fault of kind ${fault.kind} cannot happen to ${operation}: the test is wrong`)
}

function flip(bytes: Bytes, bit: number): Bytes {
  const index = Math.floor(bit / 8)
  const value = bytes[index]
  if (value !== undefined) bytes[index] = value ^ (1 << (bit % 8))
  return bytes
}
