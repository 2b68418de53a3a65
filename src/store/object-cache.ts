/*
 * Copies of small objects on a local disk. A file holds a line of JSON (key, tag, size, SHA-256 of what follows) and the bytes.
 * Nothing is synced: a file that a crash has torn does not have its hash, and is as good as absent.
 */

import { createHash, randomUUID } from 'node:crypto'
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'

/** Of what it may take, this is left when it was too much. */
const LEFT_AFTER_EVICTION = 0.9
/** Files looked at, or removed, at once. */
const FILES_AT_ONCE = 64
const HASH_DIGITS = 40
/** A key, a tag, a size and a hash, in JSON. */
const HEAD_BYTES_MAX = 4096

const cachedHead = z.strictObject({
  key: z.string(),
  tag: z.string(),
  sizeBytes: z.number().int().min(0),
  sha256: z.string(),
})

export interface CachedObject {
  readonly key: string
  /** All of the object, or its end. */
  readonly bytes: Uint8Array<ArrayBuffer>
  /** Of the whole object. */
  readonly sizeBytes: number
  /** What the service calls this content. */
  readonly tag: string
}

interface KeptFile {
  readonly path: string
  readonly bytes: number
  readonly usedMs: number
}

/** A cache of objects in a folder that nobody else uses. What goes wrong with it is never an error, only a miss. */
export class ObjectCache {
  readonly #folder: string
  readonly #bytesMax: number
  #bytes: number | undefined
  #counting: Promise<void> | undefined
  #failed = false

  constructor(folder: string, bytesMax: number) {
    this.#folder = folder
    this.#bytesMax = bytesMax
  }

  /** Could something not be removed that had to go? Then what is left must not be believed by the next process. */
  get failed(): boolean {
    return this.#failed
  }

  async get(key: string): Promise<CachedObject | undefined> {
    if (this.#failed) return undefined
    const path = this.#path(key)
    const found = decode(await readFile(path).catch(() => undefined))
    if (found?.key !== key) return undefined
    const now = new Date()
    await utimes(path, now, now).catch(() => undefined)
    return found
  }

  async put(object: CachedObject): Promise<void> {
    if (this.#failed) return
    const path = this.#path(object.key)
    const content = encode(object)
    try {
      await this.#count()
      await mkdir(join(path, '..'), { recursive: true })
      const draft = `${path}.${randomUUID()}`
      await writeFile(draft, content)
      await rename(draft, path)
    } catch {
      // A full disk, mostly: then it is not kept.
      return
    }
    this.#bytes = (this.#bytes ?? 0) + content.length
    if (this.#bytes > this.#bytesMax) await this.#evict()
  }

  /** After this, the object is no longer here. To be called before it goes from the store. */
  async drop(key: string): Promise<void> {
    await this.#remove(this.#path(key))
  }

  /** Key and tag of all that is here, as each copy says of itself. Drops what cannot be read. */
  async tags(): Promise<Map<string, string>> {
    const tags = new Map<string, string>()
    await inBatches(await this.#files(), async ({ path }) => {
      const head = await readHead(path)
      if (head === undefined || this.#path(head.key) !== path) await this.#remove(path)
      else tags.set(head.key, head.tag)
    })
    return tags
  }

  async #remove(path: string): Promise<void> {
    try {
      await rm(path, { force: true })
    } catch {
      this.#failed = true
    }
  }

  /** Counts what is there, once. */
  #count(): Promise<void> {
    this.#counting ??= this.#files().then((files) => {
      this.#bytes = files.reduce((sum, file) => sum + file.bytes, 0)
    })
    return this.#counting
  }

  /** Removes what was not used for the longest time. */
  async #evict(): Promise<void> {
    const files = (await this.#files()).sort((a, b) => a.usedMs - b.usedMs)
    let bytes = files.reduce((sum, file) => sum + file.bytes, 0)
    const excess: KeptFile[] = []
    for (const file of files) {
      if (bytes <= this.#bytesMax * LEFT_AFTER_EVICTION) break
      excess.push(file)
      bytes -= file.bytes
    }
    this.#bytes = bytes
    await inBatches(excess, (file) => this.#remove(file.path))
  }

  async #files(): Promise<KeptFile[]> {
    const folders = await readdir(this.#folder).catch(() => [])
    const files: KeptFile[] = []
    for (const folder of folders) {
      const names = await readdir(join(this.#folder, folder)).catch(() => [])
      await inBatches(names, async (name) => {
        const path = join(this.#folder, folder, name)
        const status = await stat(path).catch(() => undefined)
        if (status !== undefined) files.push({ path, bytes: status.size, usedMs: status.mtimeMs })
      })
    }
    return files
  }

  #path(key: string): string {
    const digits = sha256(Buffer.from(key)).slice(0, HASH_DIGITS)
    return join(this.#folder, digits.slice(0, 2), digits.slice(2))
  }
}

function encode({ key, bytes, sizeBytes, tag }: CachedObject): Buffer {
  const head = JSON.stringify({ key, tag, sizeBytes, sha256: sha256(bytes) })
  return Buffer.concat([Buffer.from(`${head}\n`), bytes])
}

type Head = z.infer<typeof cachedHead>

function decodeHead(line: string): Head | undefined {
  try {
    return cachedHead.parse(JSON.parse(line))
  } catch {
    return undefined
  }
}

async function readHead(path: string): Promise<Head | undefined> {
  try {
    const file = await open(path)
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES_MAX), 0, HEAD_BYTES_MAX, 0)
      const end = buffer.subarray(0, bytesRead).indexOf('\n')
      return end < 0 ? undefined : decodeHead(buffer.toString('utf8', 0, end))
    } finally {
      await file.close()
    }
  } catch {
    return undefined
  }
}

function decode(content: Buffer | undefined): CachedObject | undefined {
  const end = content?.indexOf('\n') ?? -1
  if (content === undefined || end < 0) return undefined
  const head = decodeHead(content.toString('utf8', 0, end))
  if (head === undefined) return undefined
  const bytes = Uint8Array.from(content.subarray(end + 1))
  const { key, tag, sizeBytes } = head
  return sha256(bytes) === head.sha256 ? { key, tag, sizeBytes, bytes } : undefined
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

async function inBatches<T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
  for (let i = 0; i < all.length; i += FILES_AT_ONCE)
    await Promise.all(all.slice(i, i + FILES_AT_ONCE).map(work))
}
