/** An open database that can be replaced by a new one under its readers: to clear it, or after a write failed. */

import { isEverfoldError, messageOf } from '../errors.js'
import { type Database, type DatabaseOptions, openDatabase, writeTable } from './level-database.js'
import { isNotOpen, translateLevelError } from './level-errors.js'
import { PackNumbers } from './pack-numbers.js'

export interface SessionState {
  readonly db: Database
  readonly numbers: PackNumbers
}

interface Range {
  readonly gte: Uint8Array
  readonly lt: Uint8Array
}

export class LevelSession {
  readonly path: string
  readonly #options: DatabaseOptions
  #state: SessionState
  /** The last of the writes, which run one after the other. Never rejects. */
  #lastWrite: Promise<unknown> = Promise.resolve()
  /** Set while no database is open because another takes its place. Never rejects. */
  #replacing: Promise<unknown> | undefined
  /** After a failed write LevelDB refuses all that follow, until it is opened anew. */
  #refusing = false
  /** Why no database is open, after opening it anew failed. */
  #failure: Error | undefined
  #closed = false

  private constructor(path: string, options: DatabaseOptions, state: SessionState) {
    this.path = path
    this.#options = options
    this.#state = state
  }

  static async open(
    path: string,
    options: DatabaseOptions,
  ): Promise<{ session: LevelSession; created: boolean }> {
    const { state, created } = await openState(path, options)
    return { session: new LevelSession(path, options, state), created }
  }

  /** Runs `task`, again if the database was replaced meanwhile. */
  async read<T>(task: (state: SessionState) => Promise<T>): Promise<T> {
    for (;;) {
      await this.#replacing
      const state = this.#state
      if (this.#failure !== undefined) throw this.#failure
      try {
        return await task(state)
      } catch (error) {
        const replaced = this.#replacing !== undefined || this.#state !== state
        if (isNotOpen(error) && replaced && !this.#closed) continue
        throw translateLevelError(this.path, error)
      }
    }
  }

  /** Runs `task` after all writes before it, alone among them: what it reads stays true until it has written. */
  write<T>(task: (state: SessionState) => Promise<T>): Promise<T> {
    return this.#afterWrites(async () => {
      if (this.#refusing && !this.#closed) await this.#replace(async () => undefined)
      try {
        return await task(this.#state)
      } catch (error) {
        const translated = translateLevelError(this.path, error)
        this.#refusing = isEverfoldError(translated, 'STORE_FULL', 'STORE_FAILED')
        throw translated
      }
    })
  }

  /** Closes the database, runs `between`, opens it again. */
  replace(between: () => Promise<void>): Promise<void> {
    return this.#afterWrites(() => this.#replace(between))
  }

  /** Records of a range of keys, at most `count` at a time, all of one moment. */
  async *pages(range: Range, count: number): AsyncGenerator<[Uint8Array, Buffer][]> {
    await this.#replacing
    if (this.#failure !== undefined) throw this.#failure
    const iterator = this.#state.db.iterator(range)
    try {
      for (;;) {
        const page = await iterator.nextv(count)
        if (page.length === 0) return
        yield page
      }
    } catch (error) {
      throw translateLevelError(this.path, error)
    } finally {
      await iterator.close()
    }
  }

  /** @param toTable  Make a table of what is only in the log. */
  async close(toTable = false): Promise<void> {
    await this.#afterWrites(async () => {
      if (toTable && !this.#closed && !this.#refusing) await writeTable(this.#state.db)
      this.#closed = true
      await this.#state.db.close()
    })
  }

  async #replace(between: () => Promise<void>): Promise<void> {
    const work = this.#reopen(between)
    this.#replacing = work.catch(() => undefined)
    try {
      await work
    } finally {
      this.#replacing = undefined
    }
  }

  async #reopen(between: () => Promise<void>): Promise<void> {
    try {
      await this.#state.db.close()
      await between()
      this.#state = (await openState(this.path, this.#options)).state
      this.#refusing = false
      this.#failure = undefined
    } catch (error) {
      // The next write tries again.
      this.#refusing = true
      this.#failure = asError(translateLevelError(this.path, error, true))
      throw this.#failure
    }
  }

  async #afterWrites<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#lastWrite.then(task)
    this.#lastWrite = result.catch(() => undefined)
    return result
  }
}

async function openState(
  path: string,
  options: DatabaseOptions,
): Promise<{ state: SessionState; created: boolean }> {
  const { db, created } = await openDatabase(path, options)
  try {
    return { state: { db, numbers: await PackNumbers.load(path, db) }, created }
  } catch (error) {
    await db.close()
    throw translateLevelError(path, error, true)
  }
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(messageOf(thrown))
}
