import { createHash } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import * as z from 'zod'
import type { ByteRange } from '../byte-range.js'
import type { PointState } from '../chain/chain-state.js'
import { findPointOf } from '../chain/find-point.js'
import { diskOf } from '../chain/flatten.js'
import { EverfoldError } from '../errors.js'
import type { DiskReader } from '../restore/disk-reader.js'
import { changedRanges, dataAndZeros } from '../restore/disk-reader-diff.js'
import { extentsSchema } from './answers.js'
import { sendJsonList } from './json-list.js'
import type { Pace } from './limits/pace.js'
import { untilClosed } from './limits/places.js'
import { parseRange, rangeHolds, tagMatches, type WantedRange } from './range.js'
import { diskParams, noQuery, pointName, type Route, route, wholeNumber } from './route.js'
import type { Service } from './service.js'
import type { TokenInfo } from './token-book.js'

/** Ranges up to this size are read before the answer begins, so that damage is answered as a problem. Bytes. */
export const SMALL_READ_BYTES = 1024 * 1024

export const readDisk = route({
  name: 'readDisk',
  method: 'get',
  path: '/v1/machines/{machine}/points/{point}/disks/{disk}/raw',
  summary: 'A disk as it was, byte for byte: all of it, or one range',
  params: diskParams,
  query: noQuery,
  answers: {
    200: {
      description: 'The whole disk',
      content: { 'application/octet-stream': null },
      headers: {
        'Accept-Ranges': 'bytes',
        ETag: 'Strong; stays the same when points are folded',
        'Last-Modified': 'When the point was committed',
      },
    },
    206: { description: 'The range', content: { 'application/octet-stream': null } },
    304: { description: 'Not modified (If-None-Match)' },
  },
  handle: async (service, { params, token, pace, request, response, facts }) => {
    const { repository, readers } = service
    const head = repository.chains.atHand(params.machine) ?? (await repository.chains.get(params.machine))
    // From here to the reader nothing is waited for: the head is known to be the truth for just this turn.
    const { point, index } = findPointOf(head, params.point)
    const { sizeBytes } = diskOf(params.machine, point, params.disk)
    facts.point = point.id
    const { etag, lastModified } = validatorsOf(repository.config.id, params.machine, point, params.disk)
    // All in one list, which is written at once: to set them one by one takes twice as long.
    const headers: (string | number)[] = ['X-Content-Type-Options', 'nosniff', 'Accept-Ranges', 'bytes']
    headers.push('ETag', etag, 'Last-Modified', lastModified)
    headers.push('Cache-Control', 'private, no-cache, no-transform')
    if (service.isStopping()) headers.push('Connection', 'close')
    if (tagMatches(request.headers['if-none-match'], etag)) {
      response.writeHead(304, headers).end()
      return 'sent'
    }
    const isGet = request.method === 'GET'
    const holds = isGet && rangeHolds(request.headers['if-range'] as string | undefined, etag, lastModified)
    const range = holds ? parseRange(request.headers.range, sizeBytes) : undefined
    if (range === 'unsatisfiable') {
      response.set('Content-Range', `bytes */${sizeBytes}`)
      throw new EverfoldError('RANGE_UNSATISFIABLE', `The disk ends at byte ${sizeBytes}.`, {
        details: { sizeBytes },
      })
    }
    const wanted = range ?? { offset: 0, length: sizeBytes }
    headers.push('Content-Type', 'application/octet-stream', 'Content-Length', wanted.length)
    if (range !== undefined)
      headers.push('Content-Range', `bytes ${range.offset}-${range.offset + range.length - 1}/${sizeBytes}`)
    facts['bytes'] = isGet ? wanted.length : 0
    const begin = (): void => void response.writeHead(range === undefined ? 200 : 206, headers)
    if (isGet && token !== undefined)
      await sending(service, token, response, () =>
        readers.use(head, point, index, params.disk, (reader) =>
          send(service, reader, wanted, pace, response, begin),
        ),
      )
    else {
      begin()
      response.end()
    }
    return 'sent'
  },
})

interface Validators {
  readonly etag: string
  readonly lastModified: string
}

/** By point and disk: asked for with each of many small reads. */
const validators = new WeakMap<PointState, Map<string, Validators>>()

/** What a point's disk held never changes, however it is stored by now. */
function validatorsOf(repository: string, machine: string, point: PointState, disk: string): Validators {
  const known = validators.get(point)?.get(disk)
  if (known !== undefined) return known
  const identity = JSON.stringify([repository, machine, point.id, point.createdAt, disk])
  const made = {
    etag: `"${createHash('sha256').update(identity).digest('hex').slice(0, 40)}"`,
    lastModified: new Date(point.createdAt).toUTCString(),
  }
  const ofPoint = validators.get(point) ?? new Map<string, Validators>()
  validators.set(point, ofPoint.set(disk, made))
  return made
}

/** Takes one of the places for disks that are being sent, each of which holds some MiB, until all is sent. @throws TOO_MANY_REQUESTS */
async function sending(
  { limits }: Service,
  token: TokenInfo,
  response: ServerResponse,
  work: () => Promise<void>,
): Promise<void> {
  const giveBack = limits.take('reads', token)
  try {
    await work()
  } finally {
    // What is on its way to a client that takes its time is still held.
    if (response.writableEnded && !response.writableFinished) untilClosed(response, giveBack)
    else giveBack()
  }
}

/** Sends bytes of a disk; `begin` writes the head once the first of them are known to be good. */
async function send(
  { metrics }: Service,
  reader: DiskReader,
  { offset, length }: WantedRange,
  pace: Pace,
  response: ServerResponse,
  begin: () => void,
): Promise<void> {
  if (length <= SMALL_READ_BYTES) {
    if (pace.limitsOut) await pace.out(length)
    const { bytes, release } = await reader.lend(offset, length)
    // By then the system has all of it, or nobody is going to.
    untilClosed(response, release)
    begin()
    response.end(bytes)
    metrics.sent(length)
    return
  }
  const pieces = reader.stream(offset, length)
  const first = await pieces.next()
  begin()
  const all = async function* (): AsyncGenerator<Uint8Array> {
    try {
      if (first.done !== true) yield first.value
      for await (const piece of pieces) {
        yield piece
        metrics.sent(piece.length)
      }
    } finally {
      await pieces.return(undefined)
    }
  }
  await pipeline(Readable.from(pace.paced(all()), { objectMode: true, highWaterMark: 1 }), response)
}

const EXTENTS_MAX = 1_000_000

const listExtents = route({
  name: 'listExtents',
  method: 'get',
  path: '/v1/machines/{machine}/points/{point}/disks/{disk}/extents',
  summary: 'What of a disk holds data and what zeros; with `since`, where it may differ from another point',
  params: diskParams,
  query: z.strictObject({
    since: pointName.optional().meta({ description: 'Another point of the machine, as in the address' }),
    offset: wholeNumber(0, Number.MAX_SAFE_INTEGER)
      .optional()
      .meta({ description: 'Leave out what is before this byte' }),
    limit: wholeNumber(1, EXTENTS_MAX)
      .optional()
      .meta({ description: 'So many at most; if there are more, the Link header has the next page' }),
  }),
  answers: {
    200: {
      description: 'A list in the shape of a changed-block feed, sorted, without overlaps',
      content: { 'application/json': extentsSchema },
      headers: { Link: 'With `limit`: where the list goes on (rel="next"); absent at its end' },
    },
  },
  handle: async (service, { params, query, pace, request, response, facts }) => {
    const { repository, readers } = service
    const head = await repository.chains.get(params.machine)
    const { point, index } = findPointOf(head, params.point)
    diskOf(params.machine, point, params.disk)
    facts.point = point.id
    const other = query.since === undefined ? undefined : findPointOf(head, query.since)
    if (other !== undefined) facts['since'] = other.point.id
    const { offset = 0, limit } = query
    const there = other?.point.disks.some((disk) => disk.id === params.disk) === true
    // Both are asked for in one turn, while the head is known to be the truth.
    const now = readers.lend(head, point, index, params.disk)
    const before =
      other !== undefined && there ? readers.lend(head, other.point, other.index, params.disk) : undefined
    try {
      const reader = await now.reader
      const older = await before?.reader
      if (older !== undefined)
        await sendList(
          changedRanges(repository, reader, older, offset),
          limit,
          pace,
          response,
          request.originalUrl,
        )
      else if (other === undefined)
        await sendList(dataAndZeros(reader.extents, offset), limit, pace, response, request.originalUrl)
      else await sendWhole(reader, offset, pace, response)
    } finally {
      await before?.end()
      await now.end()
    }
    return 'sent'
  },
})

/** The disk was not there at the other point: all of it is new. */
async function sendWhole(
  reader: DiskReader,
  offset: number,
  pace: Pace,
  response: ServerResponse,
): Promise<void> {
  const length = reader.sizeBytes - offset
  await sendList(length > 0 ? [{ offset, length }] : [], undefined, pace, response, '')
}

/** Sends a list as it is made. With a limit it is collected first: the header says whether there is more. */
async function sendList(
  ranges: Iterable<ByteRange> | AsyncIterable<ByteRange>,
  limit: number | undefined,
  pace: Pace,
  response: ServerResponse,
  url: string,
): Promise<void> {
  if (limit === undefined) {
    await sendJsonList(ranges, pace, response)
    return
  }
  const page: ByteRange[] = []
  for await (const range of ranges) {
    if (page.length === limit) {
      response.setHeader('Link', `<${nextPage(url, range.offset)}>; rel="next"`)
      break
    }
    page.push(range)
  }
  await sendJsonList(page, pace, response)
}

function nextPage(url: string, offset: number): string {
  const [path = '', query = ''] = url.split('?')
  const parameters = new URLSearchParams(query)
  parameters.set('offset', String(offset))
  return `${path}?${parameters.toString()}`
}

export const diskRoutes: readonly Route[] = [readDisk, listExtents]
