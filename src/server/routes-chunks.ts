import { lackingOf } from '../chain/session/offers.js'
import { EverfoldError } from '../errors.js'
import { HASH_BYTES } from '../index/chunk-index.js'
import { readExtentsStream } from './extents-stream.js'
import { openOnly, sessionOf } from './its-session.js'
import { SHARE_OF_ONE } from './limits/limits.js'
import { Places } from './limits/places.js'
import { receive, type UploadCall } from './receive.js'
import { noQuery, type Route, route, sessionDiskParams, sessionParams } from './route.js'
import type { Service } from './service.js'
import { streamedSchema } from './session-answers.js'
import { bodyOf, checkUploadType } from './upload-body.js'

const EXTENTS = 'application/vnd.everfold.extents'
const HASHES = 'application/vnd.everfold.hashes'

/** Chunks that are offered in one request. */
export const OFFERED_CHUNKS_MAX = 65_536
/** Offers that are taken at once: each holds 2 MiB and what is found. */
export const OFFERS_MAX = 64

const places = new Places('offers being taken', OFFERS_MAX)

const putStream = route({
  name: 'putStream',
  method: 'post',
  path: '/v1/sessions/{session}/disks/{disk}/stream',
  summary:
    'A framed stream of data, zeros, known chunks and compressed chunks. Answered with 2xx, it is durable',
  params: sessionDiskParams,
  query: noQuery,
  upload: EXTENTS,
  answers: { 200: { description: 'All of it came', content: { 'application/json': streamedSchema } } },
  handle: async (service, call) => {
    const session = openOnly(await sessionOf(service, call))
    checkUploadType(call.request, EXTENTS, false)
    const number = session.diskNumber(call.params.disk)
    const { sizeBytes, chunker } = session.disk(number).about
    const { chunkSize, frameSize } = service.repository.config
    const json = await receive(service, session, number, call, (upload, body) =>
      readExtentsStream(body, {
        sizeBytes,
        chunkSize,
        frameSize,
        onGrid: chunker === 'fixed',
        data: (offset, bytes) => upload.data(offset, bytes),
        zeros: (offset, length) => upload.zeros(offset, length),
        known: (chunks) => upload.known(chunks),
        frame: (chunks, codec, length, fill, record) =>
          upload.frame(chunks, { codec, length, fill, complain: (chunk) => mismatch(record, chunk) }),
      }),
    )
    call.facts['bytes'] = json.receivedBytes
    return { json: { ...json } }
  },
})

const offerChunks = route({
  name: 'offerChunks',
  method: 'post',
  path: '/v1/sessions/{session}/offers',
  summary:
    'Which of these chunks does the service lack? What it has is held for the session, and may be named as known',
  params: sessionParams,
  query: noQuery,
  upload: HASHES,
  answers: {
    200: {
      description: 'A bitmap, least significant bit first: bit i is set if chunk i is to be sent',
      content: { 'application/octet-stream': null },
    },
  },
  handle: async (service, call) => {
    const session = openOnly(await sessionOf(service, call))
    checkUploadType(call.request, HASHES, false)
    const lacking = await lackingOf(service.repository, session, await offered(service, call))
    await call.pace.out(lacking.length)
    call.response.status(200).set('Content-Type', 'application/octet-stream').end(lacking)
    return 'sent'
  },
})

/** @throws ARGUMENT_INVALID, BODY_TOO_LARGE, TOO_MANY_REQUESTS, and as bodyOf */
async function offered({ sessions }: Service, { request, token, pace }: UploadCall): Promise<Uint8Array> {
  const end = places.take(token?.id ?? '', Math.ceil(OFFERS_MAX * SHARE_OF_ONE))
  try {
    const pieces: Uint8Array[] = []
    for await (const piece of bodyOf(request, OFFERED_CHUNKS_MAX * HASH_BYTES, pace, sessions.parking))
      pieces.push(piece)
    const hashes = Buffer.concat(pieces)
    if (hashes.length > 0 && hashes.length % HASH_BYTES === 0) return hashes
    throw new EverfoldError(
      'ARGUMENT_INVALID',
      `An offer is 1 to ${OFFERED_CHUNKS_MAX} hashes of ${HASH_BYTES} bytes each; this one has ${hashes.length} bytes.`,
    )
  } finally {
    end()
  }
}

function mismatch(record: number, chunk: number | undefined): EverfoldError {
  const what = chunk === undefined ? 'the frame cannot be decoded' : `chunk ${chunk} does not have its hash`
  return new EverfoldError(
    'HASH_MISMATCH',
    `Record ${record} of the stream: ${what}. Nothing of it was kept; send it again.`,
    { details: { record, ...(chunk === undefined ? {} : { chunk }) } },
  )
}

export const chunkRoutes: readonly Route[] = [putStream, offerChunks]
