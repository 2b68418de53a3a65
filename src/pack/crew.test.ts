import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { expect, it } from 'vitest'
import { workerFile } from './crew.js'

/*
 * A command that ends at once (a wrong password, an unknown point) ends its threads while they still load. Node 20 aborts the
 * whole process when that hits a thread in the middle of an ES module: seen as SIGABRT instead of an error with a code.
 */
const END_WHILE_LOADING = `
  const { Worker } = require('node:worker_threads')
  const loading = "const { file, started } = require('node:worker_threads').workerData; started[0] = 1; require(file); setInterval(() => {}, 1000)"
  async function main() {
    for (let round = 0; round < 250; round++) {
      const started = new Int32Array(new SharedArrayBuffer(4))
      const thread = new Worker(loading, { eval: true, workerData: { file: process.argv[1], started } })
      await new Promise((resolve) => thread.once('online', resolve))
      while (Atomics.load(started, 0) === 0);
      const end = performance.now() + (round % 125) / 5
      while (performance.now() < end);
      await thread.terminate()
    }
  }
  main()
`

it('threads that are ended while they load end nothing else', { timeout: 120_000 }, async () => {
  const child = spawn(process.execPath, ['--eval', END_WHILE_LOADING, workerFile()], {
    stdio: ['ignore', 'inherit', 'pipe'],
  })
  const [[status, signal], errors] = await Promise.all([once(child, 'close'), text(child.stderr)])
  expect({ status, signal, errors: errors.slice(0, 200) }).toEqual({ status: 0, signal: null, errors: '' })
})
