import { AsyncLocalStorage } from 'node:async_hooks'

/** What services charge for, as their price lists tell requests apart. */
export const REQUEST_KINDS = ['get', 'put', 'list', 'delete', 'lock', 'other'] as const
export type RequestKind = (typeof REQUEST_KINDS)[number]

/** Requests to a store on the network, failed and repeated ones included, and bytes of their bodies. */
export type TrafficFigures = Readonly<Record<RequestKind, number>> & {
  /** Of the requests, those that repeat one that failed. */
  readonly retries: number
  /** From the store. */
  readonly bytesIn: number
  /** To the store. */
  readonly bytesOut: number
}

const jobs = new AsyncLocalStorage<Traffic>()

/** Counts what was asked of a store. */
export class Traffic {
  readonly #figures = {
    get: 0,
    put: 0,
    list: 0,
    delete: 0,
    lock: 0,
    other: 0,
    retries: 0,
    bytesIn: 0,
    bytesOut: 0,
  }

  get figures(): TrafficFigures {
    return { ...this.#figures }
  }

  get requests(): number {
    return REQUEST_KINDS.reduce((sum, kind) => sum + this.#figures[kind], 0)
  }

  /** Counts here, and for the job at work (see {@link countTraffic}). */
  add(changes: Partial<TrafficFigures>): void {
    this.#take(changes)
    const job = jobs.getStore()
    if (job !== undefined) job.#take(changes)
  }

  #take(changes: Partial<TrafficFigures>): void {
    for (const [name, value] of Object.entries(changes)) this.#figures[name as keyof TrafficFigures] += value
  }
}

/** Runs a job and counts what it, and whatever it starts, asks of stores. */
export async function countTraffic<T>(work: (traffic: Traffic) => Promise<T>): Promise<T> {
  const traffic = new Traffic()
  return jobs.run(traffic, () => work(traffic))
}
