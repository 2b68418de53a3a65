/** One that the thread works on, and one that it goes on with at once. */
export const THREAD_JOBS_MAX = 2

interface WaitingJob {
  readonly begin: (where: 'on thread' | 'here') => Promise<unknown>
}

/**
 * Jobs for one thread and for whoever asks, who would only wait for it: while the thread is busy, or has not started yet, they are
 * done here, one at a time and in between everything else. For little work in a process that serves nobody else.
 */
export class SharedWork {
  readonly #waiting: WaitingJob[] = []
  #threadJobs = 0
  #isBusyHere = false

  /** Does a job one way or the other, in about the order asked. */
  run<T>(onThread: () => Promise<T>, here: () => Promise<T>): Promise<T> {
    return new Promise((resolve) => {
      const begin = (where: 'on thread' | 'here'): Promise<T> => {
        const work = where === 'here' ? here() : onThread()
        resolve(work)
        return work
      }
      this.#waiting.push({ begin })
      this.#next()
    })
  }

  #next(): void {
    while (this.#threadJobs < THREAD_JOBS_MAX) {
      const job = this.#waiting.shift()
      if (job === undefined) return
      this.#threadJobs++
      const done = (): void => {
        this.#threadJobs--
        this.#next()
      }
      job.begin('on thread').then(done, done)
    }
    if (this.#isBusyHere || this.#waiting.length === 0) return
    this.#isBusyHere = true
    // What the thread and the system have to say is heard first.
    setImmediate(() => {
      const done = (): void => {
        this.#isBusyHere = false
        this.#next()
      }
      const job = this.#waiting.shift()
      if (job === undefined) done()
      else job.begin('here').then(done, done)
    })
  }
}
