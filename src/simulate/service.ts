import type { Repository } from '../chain/repository.js'
import { Sessions } from '../chain/session/sessions.js'

/** Sessions that are open at once, and of one owner. */
const SESSIONS_MAX = 100

/** Extents that sessions keep in memory: so few that most have to be read from the store again. */
const EXTENTS_MAX = 4

/** What of the service this is about: sessions, without the HTTP around them. */
export class Service {
  readonly repository: Repository
  readonly sessions: Sessions
  readonly limit = { all: SESSIONS_MAX, own: SESSIONS_MAX }
  /** May it not have what it said it has? Where bits rot. */
  readonly mayForget: () => boolean
  /** Does it know all that an earlier one left? A session that it comes upon later lives a day from then on. */
  isReady = false
  #hasTried = false
  #hasFailed = false

  constructor(repository: Repository, partBytes: number, mayForget: () => boolean) {
    this.repository = repository
    this.sessions = new Sessions(repository, { partBytes, extentsMax: EXTENTS_MAX })
    this.mayForget = mayForget
  }

  get level(): number {
    return this.repository.config.compression.level
  }

  /** Plain bytes of a frame of several chunks. */
  get framePlainMax(): number {
    return this.repository.config.frameSize
  }

  /** Once, beside the first requests. @throws STORE_FAILED */
  async recover(): Promise<void> {
    if (this.#hasTried) return
    this.#hasTried = true
    try {
      await this.sessions.recover()
      this.isReady = true
    } catch (error) {
      this.#hasFailed = true
      throw error
    }
  }

  /** Now and then. @throws STORE_FAILED */
  async sweep(): Promise<void> {
    const hadFailed = this.#hasFailed
    await this.sessions.sweep()
    this.isReady ||= hadFailed
  }
}
