import type { PointState } from '../chain/chain-state.js'
import type { ChainHead } from '../chain/chains.js'
import type { Repository } from '../chain/repository.js'
import { DiskReader } from '../restore/disk-reader.js'

/** Disks that stay open though nobody reads them now, and the extents that they may have together (32 bytes each). */
export const IDLE_READERS_MAX = 16
export const IDLE_EXTENTS_MAX = 2_000_000
/** After this time without a reader a disk is closed, so that garbage collection may have what it pins. */
const IDLE_MS = 30_000

interface Entry {
  readonly reader: Promise<DiskReader>
  users: number
  idleSinceMs: number
}

/** A disk that is lent, until it is given back. */
export interface Loan {
  /** @throws as DiskReader.open */
  readonly reader: Promise<DiskReader>
  /** Once. */
  end(): Promise<void>
}

/** Keeps disks open between requests: planning one takes a look at all of its runs. */
export class DiskReaders {
  readonly #repository: Repository
  /** Least recently used first. */
  readonly #entries = new Map<string, Entry>()
  readonly #sweep: NodeJS.Timeout

  constructor(repository: Repository) {
    this.#repository = repository
    this.#sweep = setInterval(() => this.#closeIdle(), IDLE_MS / 3).unref()
  }

  /**
   * Lends a disk at a point until the loan is ended. Nothing is waited for in here.
   * @param head  got in this very turn, as is `point`, which is number `index` in it
   */
  lend(head: ChainHead, point: PointState, index: number, disk: string): Loan {
    // A point's disks never change: folding rewrites how they are stored, and what is open keeps that as it was.
    const name = JSON.stringify([head.state.machine, point.id, point.createdAt, disk])
    const entry = this.#entries.get(name) ?? this.#open(name, head, index, disk)
    this.#entries.delete(name)
    this.#entries.set(name, entry)
    entry.users++
    return {
      reader: entry.reader,
      end: () => {
        entry.users--
        entry.idleSinceMs = this.#repository.environment.monotonicMs()
        if (entry.users > 0) return Promise.resolve()
        if (this.#entries.get(name) !== entry) closeWhenOpen(entry)
        return this.#trim()
      },
    }
  }

  #open(name: string, head: ChainHead, index: number, disk: string): Entry {
    const reader = DiskReader.open(this.#repository, head, index, disk)
    const entry: Entry = { reader, users: 0, idleSinceMs: 0 }
    // One that could not be opened is tried anew the next time.
    reader.catch(() => {
      if (this.#entries.get(name) === entry) this.#entries.delete(name)
    })
    return entry
  }

  /** Lends a disk until `work` is done. @throws as DiskReader.open, and what `work` throws */
  async use<T>(
    head: ChainHead,
    point: PointState,
    index: number,
    disk: string,
    work: (reader: DiskReader) => Promise<T>,
  ): Promise<T> {
    const loan = this.lend(head, point, index, disk)
    try {
      return await work(await loan.reader)
    } finally {
      await loan.end()
    }
  }

  /** Closes all that are not in use. */
  close(): void {
    clearInterval(this.#sweep)
    for (const [name, entry] of this.#entries) this.#drop(name, entry)
  }

  async #trim(): Promise<void> {
    let idle = 0
    let extents = 0
    for (const [name, entry] of [...this.#entries].reverse()) {
      if (entry.users > 0) continue
      const reader = await entry.reader.catch(() => undefined)
      if (entry.users > 0) continue
      idle++
      extents += reader?.extents.length ?? 0
      if (idle > IDLE_READERS_MAX || extents > IDLE_EXTENTS_MAX) this.#drop(name, entry)
    }
  }

  #closeIdle(): void {
    const now = this.#repository.environment.monotonicMs()
    for (const [name, entry] of this.#entries)
      if (entry.users === 0 && now - entry.idleSinceMs > IDLE_MS) this.#drop(name, entry)
  }

  #drop(name: string, entry: Entry): void {
    if (this.#entries.get(name) !== entry) return
    this.#entries.delete(name)
    if (entry.users === 0) closeWhenOpen(entry)
  }
}

/** One that could not be opened pins nothing. */
function closeWhenOpen(entry: Entry): void {
  entry.reader.then(
    (reader) => reader.close(),
    () => undefined,
  )
}
