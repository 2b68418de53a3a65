import * as z from 'zod'
import type { Session } from '../chain/session/session.js'
import { isOpen } from '../chain/session/sessions.js'
import { EverfoldError } from '../errors.js'
import { createFor, noteCommitted, openOnly, sessionOf } from './its-session.js'
import { receive, type UploadCall } from './receive.js'
import { machineDiskParams, type Route, route, sessionDiskParams, wholeNumber } from './route.js'
import type { Service } from './service.js'
import { committedSchema, consistencySchema, noteSchema, receivedSchema } from './session-answers.js'
import { checkUploadType, idempotencyKeyOf, lengthOf } from './upload-body.js'

const BYTES = 'application/octet-stream'

const putData = route({
  name: 'putData',
  method: 'put',
  path: '/v1/sessions/{session}/disks/{disk}/data',
  summary: 'Bytes of a disk, from an offset on. Answered with 2xx, they are durable',
  params: sessionDiskParams,
  query: z.strictObject({ offset: wholeNumber(0, Number.MAX_SAFE_INTEGER) }),
  upload: BYTES,
  answers: { 200: { description: 'All of it came', content: { 'application/json': receivedSchema } } },
  handle: async (service, call) => {
    const session = openOnly(await sessionOf(service, call))
    const { request, facts, query } = call
    checkUploadType(request, BYTES, true)
    const number = session.diskNumber(call.params.disk)
    const { sizeBytes } = session.disk(number).about
    checkEnd(query.offset + (lengthOf(request) ?? 0), sizeBytes)
    const { receivedBytes } = await receive(service, session, number, call, async (upload, body) => {
      let at = query.offset
      for await (const bytes of body) {
        checkEnd(at + bytes.length, sizeBytes)
        await upload.data(at, bytes)
        at += bytes.length
      }
    })
    facts['bytes'] = receivedBytes
    return { json: { receivedBytes } }
  },
})

const putImage = route({
  name: 'putImage',
  method: 'put',
  path: '/v1/machines/{machine}/disks/{disk}/image',
  summary: 'A whole disk in one request makes a point of that disk alone, for scripts: curl -T disk.raw',
  params: machineDiskParams,
  query: z.strictObject({
    note: noteSchema.optional(),
    consistency: consistencySchema.optional(),
    size: wholeNumber(1, Number.MAX_SAFE_INTEGER)
      .optional()
      .meta({ description: 'Bytes of the disk: a body of fewer or more makes no point' }),
  }),
  upload: BYTES,
  answers: {
    201: { description: 'The point, durable', content: { 'application/json': committedSchema } },
    200: {
      description: 'The point that was made with this Idempotency-Key before',
      content: { 'application/json': committedSchema },
    },
  },
  handle: async (service, call) => {
    const { params, query, request, token, facts } = call
    const { sessions } = service
    checkUploadType(request, BYTES, true)
    const length = lengthOf(request)
    if (length === 0) throw noBytes()
    checkLength(length, query.size)
    const { session } = await createFor(
      service,
      token,
      {
        machine: params.machine,
        disks: [{ id: params.disk, sizeBytes: query.size ?? length ?? Number.MAX_SAFE_INTEGER }],
        ...(query.note === undefined ? {} : { note: query.note }),
        ...(query.consistency === undefined ? {} : { consistency: query.consistency }),
        single: true,
      },
      idempotencyKeyOf(request),
    )
    if (!isOpen(session)) {
      facts.point = session.result.point
      return { json: session.result }
    }
    facts['session'] = session.id
    try {
      const sizeBytes = await receiveImage(service, session, call, query.size)
      facts['bytes'] = sizeBytes
      const { result } = await sessions.commit(session, new Map([[0, sizeBytes]]))
      facts.point = result.point
      noteCommitted(service, result)
      return { status: 201, json: result }
    } catch (error) {
      await sessions.giveUp(session)
      throw error
    }
  },
})

async function receiveImage(
  service: Service,
  session: Session,
  call: UploadCall,
  wantedBytes: number | undefined,
): Promise<number> {
  const { receivedBytes } = await receive(service, session, 0, call, async (upload, body) => {
    let at = 0
    for await (const bytes of body) {
      if (wantedBytes !== undefined) checkEnd(at + bytes.length, wantedBytes)
      await upload.data(at, bytes)
      at += bytes.length
    }
  })
  if (receivedBytes === 0) throw noBytes()
  checkLength(receivedBytes, wantedBytes)
  return receivedBytes
}

/** Is a body as long as the client says that its disk is? @throws DISK_INCOMPLETE, ARGUMENT_INVALID */
function checkLength(bytes: number | undefined, wantedBytes: number | undefined): void {
  if (bytes === undefined || wantedBytes === undefined) return
  checkEnd(bytes, wantedBytes)
  if (bytes === wantedBytes) return
  throw new EverfoldError(
    'DISK_INCOMPLETE',
    `The disk has ${wantedBytes} bytes, as "size" says, but only ${bytes} came: did what reads it fail? No point was made; send all of it.`,
    { details: { sizeBytes: wantedBytes, receivedBytes: bytes } },
  )
}

function checkEnd(end: number, sizeBytes: number): void {
  if (end <= sizeBytes) return
  throw new EverfoldError(
    'ARGUMENT_INVALID',
    `This would reach beyond the end of the disk, byte ${sizeBytes}.`,
    {
      details: { sizeBytes },
    },
  )
}

function noBytes(): EverfoldError {
  return new EverfoldError('ARGUMENT_INVALID', 'An image has one byte at least: was the file or pipe empty?')
}

export const uploadRoutes: readonly Route[] = [putData, putImage]
