import { randomUUID } from 'node:crypto'
import { readFile, rename, writeFile } from 'node:fs/promises'
import * as z from 'zod'
import { KeyedMutex } from '../mutex.js'
import type { Traffic } from './traffic.js'

/** Jobs that are remembered: newer ones take the place of older ones. */
export const JOBS_LOGGED_MAX = 200

const count = z.number().int().min(0)

const jobRequests = z.strictObject({
  /** A command, or a kind of job of the service. */
  job: z.string(),
  /** ISO 8601. */
  startedAt: z.string(),
  seconds: z.number(),
  get: count,
  put: count,
  list: count,
  delete: count,
  /** Locks extended. Logs of earlier versions have none. */
  lock: count.default(0),
  other: count,
  retries: count,
  bytesIn: count,
  bytesOut: count,
})

/** What one job asked of the store: requests by kind, and bytes of bodies from and to the store. */
export type JobRequests = Readonly<z.infer<typeof jobRequests>>

/** What jobs of this machine asked of a bucket, in a file beside the cache. Only a note: what goes wrong with it is no error. */
export class RequestLog {
  readonly #path: string
  readonly #adding = new KeyedMutex()

  constructor(path: string) {
    this.#path = path
  }

  /** Oldest first. */
  async read(): Promise<readonly JobRequests[]> {
    try {
      return z.array(jobRequests).parse(JSON.parse(await readFile(this.#path, 'utf8')))
    } catch {
      return []
    }
  }

  /** @param started  when the job began */
  async add(job: string, started: Date, { figures }: Traffic): Promise<void> {
    const seconds = Math.round(Date.now() - started.getTime()) / 1000
    const entry = { job, startedAt: started.toISOString(), seconds, ...figures }
    await this.#adding.run('', async () => {
      const entries = [...(await this.read()), entry].slice(-JOBS_LOGGED_MAX)
      const draft = `${this.#path}.${randomUUID()}`
      try {
        await writeFile(draft, JSON.stringify(entries))
        await rename(draft, this.#path)
      } catch {
        // A full disk, mostly.
      }
    })
  }
}
