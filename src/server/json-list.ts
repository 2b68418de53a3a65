import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Pace } from './limits/pace.js'

/** Items that go out at once. */
const BATCH = 1000

/** Answers with a list of any length, as it is made. */
export async function sendJsonList(
  items: Iterable<unknown> | AsyncIterable<unknown>,
  pace: Pace,
  response: ServerResponse,
): Promise<void> {
  response.setHeader('Content-Type', 'application/json; charset=utf-8')
  await pipeline(Readable.from(pace.paced(jsonList(items)), { highWaterMark: 1 }), response)
}

async function* jsonList(items: Iterable<unknown> | AsyncIterable<unknown>): AsyncGenerator<string> {
  let batch: string[] = []
  let before = '['
  for await (const item of items) {
    batch.push(JSON.stringify(item))
    if (batch.length < BATCH) continue
    yield before + batch.join(',\n')
    before = ',\n'
    batch = []
  }
  yield `${batch.length > 0 || before === '[' ? before : ''}${batch.join(',\n')}]\n`
}
