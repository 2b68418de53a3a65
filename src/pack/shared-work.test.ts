import { setImmediate as turn } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { SharedWork, THREAD_JOBS_MAX } from './shared-work.js'

/** A thread that answers when it is told to, and a record of who did what. */
function workplace() {
  const done: string[] = []
  const answers: (() => void)[] = []
  const shared = new SharedWork()
  const ask = (name: string): Promise<string> =>
    shared.run(
      () =>
        new Promise((resolve) => {
          answers.push(() => {
            done.push(`${name} on thread`)
            resolve(name)
          })
        }),
      () => {
        done.push(`${name} here`)
        return Promise.resolve(name)
      },
    )
  return { ask, done, answers }
}

it('does here what the thread has no time for, one job at a turn', async () => {
  const { ask, done, answers } = workplace()
  const names = Array.from({ length: THREAD_JOBS_MAX + 2 }, (_, i) => `job ${i}`)
  const results = names.map(ask)
  await turn()
  expect(done).toEqual([`job ${THREAD_JOBS_MAX} here`])
  await turn()
  expect(done).toEqual([`job ${THREAD_JOBS_MAX} here`, `job ${THREAD_JOBS_MAX + 1} here`])
  for (const answer of answers) answer()
  expect(await Promise.all(results)).toEqual(names)
})

it('gives the thread the next job as soon as it has answered', async () => {
  const { ask, done, answers } = workplace()
  const results = Array.from({ length: THREAD_JOBS_MAX + 1 }, (_, i) => ask(`job ${i}`))
  answers.shift()?.()
  await results[0]
  await Promise.resolve()
  for (const answer of answers) answer()
  await Promise.all(results)
  expect(done.filter((what) => what.endsWith('here'))).toEqual([])
  expect(done).toHaveLength(THREAD_JOBS_MAX + 1)
})

it('goes on after a job that failed, wherever it was done', async () => {
  const shared = new SharedWork()
  const fail = (): Promise<never> => Promise.reject(new Error('it failed'))
  const failed = Array.from({ length: 3 * THREAD_JOBS_MAX }, () => shared.run(fail, fail))
  for (const { status } of await Promise.allSettled(failed)) expect(status).toBe('rejected')
  expect(
    await shared.run(
      () => Promise.resolve('done'),
      () => Promise.resolve('done'),
    ),
  ).toBe('done')
})
