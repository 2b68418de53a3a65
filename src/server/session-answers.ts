import * as z from 'zod'
import type { RepositoryConfig } from '../chain/config.js'
import type { ExtentList } from '../chain/extent-list.js'
import { arrivedOf, missingOf, type Session } from '../chain/session/session.js'
import type { SessionDone } from '../chain/session/session-objects.js'
import { isOpen, type Sessions } from '../chain/session/sessions.js'
import type { ErrorCode } from '../errors.js'
import { NOTE_LENGTH_MAX } from '../names.js'

/* What the routes of sessions answer. */

/** In the document a string: codes are added. */
const code = z.string() as unknown as z.ZodType<ErrorCode>
const bytes = z.int().min(0)
const time = z.iso.datetime()
const pointId = z.string().regex(/^[0-9a-z]{8}$/)
const range = z.strictObject({ offset: bytes, length: bytes })

/** Missing ranges that are told of a disk. */
export const MISSING_RANGES_MAX = 1000

export const rangesSchema = z.array(range).meta({ id: 'Ranges' })

/** As `everfold backup --json` tells it. */
export const committedSchema = z
  .strictObject({
    machine: z.string(),
    point: pointId,
    kind: z.enum(['full', 'incremental']),
    createdAt: time,
    disks: z.array(z.strictObject({ id: z.string(), sizeBytes: bytes })),
    readBytes: bytes,
    changedBytes: bytes,
    newBytes: bytes,
    storedBytes: bytes,
    seconds: z.number(),
    healedChunks: z.number().int().optional().meta({
      description: 'Damaged chunks that are whole again, where a commit with `retention=wait` asks',
    }),
    retention: z
      .union([
        z.strictObject({ removed: z.array(pointId) }),
        z.strictObject({ error: z.strictObject({ code, message: z.string() }) }),
      ])
      .optional()
      .meta({ description: 'What the saved policy did then, where a commit with `retention=wait` asks' }),
  })
  .meta({ id: 'CommittedPoint' })

/** What it may be is checked where it is kept. */
export const noteSchema = z
  .string()
  .meta({ description: 'One line, without control characters', maxLength: NOTE_LENGTH_MAX })

export const consistencySchema = z.enum(['crash', 'filesystem', 'application']).meta({
  description: 'What the source did before its disks were read; crash: nothing, as after a power cut',
})

export const sessionSchema = z
  .strictObject({
    session: z.string(),
    machine: z.string(),
    state: z.enum(['open', 'committed']),
    parent: pointId.nullable().optional(),
    note: z.string().optional(),
    consistency: consistencySchema.optional(),
    createdAt: time.optional(),
    expiresAt: time.optional().meta({ description: 'Every request of the session puts it off' }),
    chunkSize: bytes,
    frameSize: bytes.meta({ description: 'Plain bytes of a frame of several chunks, at most' }),
    level: z.int().min(0).meta({ description: 'How the repository compresses with zstd; 0: not at all' }),
    disks: z.array(
      z.strictObject({
        id: z.string(),
        sizeBytes: bytes,
        content: z.enum(['whole', 'changes']).optional(),
        chunker: z.enum(['fixed', 'cdc']).optional(),
        receivedBytes: bytes.optional(),
        missing: z
          .array(range)
          .optional()
          .meta({ description: 'What has to come before the commit, the first 1000 ranges of it' }),
        missingTruncated: z.literal(true).optional(),
      }),
    ),
    point: committedSchema.optional(),
  })
  .meta({ id: 'Session' })

export const sessionsSchema = z
  .strictObject({
    sessions: z.array(
      z.strictObject({
        session: z.string(),
        machine: z.string(),
        createdAt: time,
        note: z.string().optional(),
        token: z.string().meta({ description: 'Id of the token that made it' }),
        disks: z.array(z.strictObject({ id: z.string(), sizeBytes: bytes })),
      }),
    ),
  })
  .meta({ id: 'Sessions' })

export const receivedSchema = z.strictObject({ receivedBytes: bytes }).meta({ id: 'Received' })

export const streamedSchema = z
  .strictObject({
    receivedBytes: bytes.meta({ description: 'Of the disk' }),
    newBytes: bytes.meta({ description: 'Of chunks that were new, before compression' }),
    storedBytes: bytes.meta({ description: 'What was written' }),
  })
  .meta({ id: 'Streamed' })

export const droppedSchema = z.strictObject({ session: z.string() }).meta({ id: 'DroppedSession' })

/** A session as it is told to whoever may see it. */
export async function describe(
  found: Session | SessionDone,
  sessions: Sessions,
  { chunkSize, frameSize, compression }: RepositoryConfig,
): Promise<z.output<typeof sessionSchema>> {
  const encoding = { chunkSize, frameSize, level: compression.level }
  if (!isOpen(found)) {
    const { machine, disks } = found.result
    const point = { ...found.result, disks: disks.map((disk) => ({ ...disk })) }
    return { session: found.session, machine, state: 'committed', ...encoding, disks: point.disks, point }
  }
  const { session, machine, named, base, note, consistency, createdAt } = found.begin
  const arrived = await sessions.arrived(found)
  return {
    session,
    machine,
    state: 'open',
    parent: named ? base : null,
    ...(note === undefined ? {} : { note }),
    consistency,
    createdAt,
    expiresAt: new Date(sessions.expiresMs(found)).toISOString(),
    ...encoding,
    disks: found.begin.disks.map(({ id, sizeBytes, content, chunker }, number) => ({
      id,
      sizeBytes,
      content,
      chunker,
      ...progressOf(found, number, arrivedOf(arrived, number)),
    })),
  }
}

function progressOf(
  session: Session,
  number: number,
  arrived: ExtentList,
): Pick<z.output<typeof sessionSchema>['disks'][number], 'receivedBytes' | 'missing' | 'missingTruncated'> {
  const missing: { offset: number; length: number }[] = []
  for (const part of missingOf(session.disk(number).about, arrived)) {
    if (missing.length === MISSING_RANGES_MAX)
      return { receivedBytes: arrived.totalBytes, missing, missingTruncated: true }
    missing.push(part)
  }
  return { receivedBytes: arrived.totalBytes, missing }
}
