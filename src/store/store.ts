/**
 * Where objects live: a flat, ordered name space of immutable objects. An object is never overwritten, only added
 * and, by garbage collection alone, removed. Readers, writers and the collector are handed the narrowest role.
 *
 * Keys are `/`-separated ASCII paths built in `keys.ts`. Every method may throw
 *   STORE_FAILED   the store could not be asked or did not answer: says nothing about the object,
 *   STORE_FULL     a write was refused for want of space: nothing was stored under the key,
 * and the codes named with it. A transient failure is never reported as OBJECT_NOT_FOUND.
 */
export interface StoreReader {
  /**
   * Reads `length` bytes from `offset`, exactly. The result owns its whole ArrayBuffer (byteOffset 0), so it may be
   * transferred to a worker.
   * @throws OBJECT_NOT_FOUND; DATA_DAMAGED if the object ends before `offset + length`.
   */
  read(key: string, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>

  /**
   * As {@link read}, into memory of the caller's, all of which is filled: of stores that can.
   * @throws as {@link read}
   */
  readInto?(key: string, offset: number, into: Uint8Array): Promise<void>

  /**
   * Reads the whole object. For small objects (runs, chain states): not for packs.
   * @throws OBJECT_NOT_FOUND
   */
  readAll(key: string): Promise<Uint8Array<ArrayBuffer>>

  /**
   * Reads the last `length` bytes (all of a shorter object) and tells the object's size in bytes.
   * @throws OBJECT_NOT_FOUND
   */
  readTail(key: string, length: number): Promise<{ bytes: Uint8Array<ArrayBuffer>; sizeBytes: number }>

  /** Size in bytes, or undefined when there is no such object. */
  size(key: string): Promise<number | undefined>

  /**
   * Objects whose key starts with `prefix` (which ends in `/` or is empty), in no promised order. What was added or
   * removed meanwhile may or may not appear; everything else does. A listing is a hint: see invariant 5 in
   * docs/design.md.
   */
  list(prefix: string): AsyncIterable<StoredObject>

  /**
   * Puts whatever can be read below `prefix` (which ends in `/`) on stable storage. What a put that failed, or a process that was killed,
   * left behind may be there now and gone after a power cut. So whoever is going to rely on objects that it did not put itself (to
   * refer to them, or to remove what they make needless) settles them after it found them, and before it relies on them.
   * Costs next to nothing where nothing is unsettled.
   */
  settle(prefix: string): Promise<void>

  /**
   * Of stores whose objects are files: one that stays open until it is released, so that any thread of this process can read from it.
   * What is read so has to be checked; where anything is wrong with it, {@link read} says what.
   * @returns at once if the file is open already; undefined if there is no such file, for whatever reason
   */
  hold?(key: string): HeldObject | Promise<HeldObject | undefined>
}

export interface HeldObject {
  /** The descriptor of the file. */
  readonly fd: number
  /** Once. @returns undefined if there is nothing to wait for */
  readonly release: () => Promise<void> | undefined
}

export interface StoredObject {
  readonly key: string
  readonly sizeBytes: number
}

export interface StoreWriter extends StoreReader {
  /**
   * Adds an object made of `parts` one after the other, if the key is free: all of it or nothing, and durably: when
   * the promise resolves, the object and the folders that lead to it survive a power cut. Of several writers of one
   * key exactly one gets 'created'. The parts must not be changed until the promise settles.
   * @returns 'exists' when the key was taken; the store is then unchanged.
   * @throws STORE_FULL, STORE_FAILED: then the object is absent or whole, never torn.
   */
  put(key: string, parts: readonly Uint8Array[]): Promise<'created' | 'exists'>

  /** Of stores that can: begins an object whose bytes come bit by bit, and whose key may not be known yet. Nobody sees it before it is put. */
  begin?(): Promise<BegunObject>
}

/** Ends with `put` or `discard`. Nothing is promised of what was appended, until it is put. */
export interface BegunObject {
  /** Adds bytes, once those before are added. They must not be changed until the promise settles. @throws STORE_FULL, STORE_FAILED */
  append(parts: readonly Uint8Array[]): Promise<void>
  /** As {@link StoreWriter.put}, of all bytes that were appended and then `parts`. Whatever comes of it, nothing else is left. */
  put(key: string, parts: readonly Uint8Array[]): Promise<'created' | 'exists'>
  discard(): Promise<void>
}

/** Only garbage collection is handed one of these. */
export interface StorePruner extends StoreWriter {
  /** Removes an object, durably. Removing what is not there is no error. */
  remove(key: string): Promise<void>
}

export interface Store extends StorePruner {
  /** For people: a path or a URL without secrets. */
  readonly location: string
  close(): Promise<void>
}
