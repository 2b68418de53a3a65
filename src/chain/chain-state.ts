import * as z from 'zod'
import { EverfoldError } from '../errors.js'
import { openSealedJson, sealJson } from '../sealed-json.js'

/*
 * Chain state, formats 1 to 3: sealed JSON (see sealed-json.ts). All points of a machine, oldest first, with the runs of their
 * disks. The first point is the parent; writing the next sequence number is the commit.
 */

/** The highest that there is: 2 has points with `consistency`, 3 disks with `folded`. A state is written as the lowest that it needs. */
export const CHAIN_FORMAT_VERSION = 3

const bytes = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)
const sha256 = z.string().regex(/^[0-9a-f]{64}$/)

const segment = z.strictObject({ id: sha256, start: bytes, end: bytes, extents: bytes }).readonly()
const run = z.strictObject({ stride: bytes, segments: z.array(segment).readonly() }).readonly()

/** A run, and the size that the disk had at its point. */
const runLayer = z.strictObject({ sizeBytes: bytes, run }).readonly()

const diskState = z
  .strictObject({
    id: z.string(),
    sizeBytes: bytes,
    chunker: z.enum(['fixed', 'cdc']),
    /** The runs cover the whole disk and need no older point: the parent's, and a disk's first. */
    complete: z.boolean(),
    /** Runs of points that were folded into this one, oldest first: they lie below `run`, and are not joined with it yet. */
    folded: z.array(runLayer).min(1).readonly().optional(),
    run,
  })
  .readonly()

/** Keeps a point from being folded away. */
const pin = z.strictObject({ reason: z.string(), until: z.iso.datetime().optional() }).readonly()

const count = z.number().int().min(0).max(1_000_000)

/** How many points of each kind to keep; see merge/retention.ts. */
export const retentionPolicySchema = z
  .strictObject({
    last: count.optional(),
    hourly: count.optional(),
    daily: count.optional(),
    weekly: count.optional(),
    monthly: count.optional(),
    yearly: count.optional(),
    /** Points younger than this stay. */
    minAgeSeconds: z.number().int().min(0).optional(),
    /** IANA name, such as Europe/Berlin; hours, days, … are those of this zone. Default: UTC. */
    timeZone: z.string().optional(),
  })
  .readonly()

const pointState = z
  .strictObject({
    id: z.string().regex(/^[0-9a-z]{8}$/),
    /** When the point was committed, ISO 8601 in UTC. */
    createdAt: z.iso.datetime(),
    note: z.string().optional(),
    /** What the source did before its disks were read; absent: nothing, as after a power cut. */
    consistency: z.enum(['filesystem', 'application']).optional(),
    pin: pin.optional(),
    disks: z.array(diskState).readonly(),
    /** Bytes read from the source, covered by the run, of new chunks before and after compression; seconds taken. */
    readBytes: bytes,
    changedBytes: bytes,
    newBytes: bytes,
    storedBytes: bytes,
    seconds: z.number().min(0),
  })
  .readonly()

const chainState = z
  .strictObject({
    everfold: z.literal('chain'),
    format: z.union([z.literal(1), z.literal(2), z.literal(CHAIN_FORMAT_VERSION)]),
    machine: z.string(),
    sequence: bytes,
    /** The machine's own; without it the repository's default holds. */
    retention: retentionPolicySchema.optional(),
    /**
     * The newest point here is not the newest that there was: that one was deleted, or its chain state is damaged. What changed
     * since is not all that changed since this one, so no feed is taken until the next point was made without.
     */
    newestLost: z.literal(true).optional(),
    points: z.array(pointState).readonly(),
  })
  .readonly()

export type RetentionPolicy = z.infer<typeof retentionPolicySchema>
export type Pin = z.infer<typeof pin>
export type RunLayer = z.infer<typeof runLayer>
export type DiskState = z.infer<typeof diskState>
export type PointState = z.infer<typeof pointState>
export type ChainState = z.infer<typeof chainState>

/** The lowest format that has all that these points have. */
export function chainFormatOf(points: readonly PointState[]): ChainState['format'] {
  if (points.some((point) => point.disks.some((disk) => disk.folded !== undefined))) return 3
  return points.some((point) => point.consistency !== undefined) ? 2 : 1
}

export function encodeChainState(state: ChainState): Uint8Array {
  const encoded = sealJson(state)
  if (decodeChainState(encoded) === undefined) throw new Error('a chain state did not decode')
  return encoded
}

/**
 * A newer Everfold that adds a member raises the format number: an older one then stops here, instead of taking the state for
 * damaged and going on from the one before it.
 * @returns undefined unless the bytes are an undamaged chain state
 * @throws FORMAT_TOO_NEW
 */
export function decodeChainState(encoded: Uint8Array): ChainState | undefined {
  const payload = openSealedJson(encoded)
  if (payload === undefined) return undefined
  const format = payload['format']
  if (payload['everfold'] === 'chain' && typeof format === 'number' && format > CHAIN_FORMAT_VERSION)
    throw new EverfoldError(
      'FORMAT_TOO_NEW',
      `A chain was written in format ${format}; this version of Everfold knows formats up to ${CHAIN_FORMAT_VERSION}. Use a newer Everfold.`,
      { details: { format } },
    )
  const parsed = chainState.safeParse(payload)
  return parsed.success && parsed.data.format === chainFormatOf(parsed.data.points) ? parsed.data : undefined
}
