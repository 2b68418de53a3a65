import * as z from 'zod'

/* What the routes answer, as schemas: documented in /openapi.json, and held against real answers by the tests. */

const bytes = z.int().min(0)
const ratio = z.number().min(0).nullable()
const time = z.iso.datetime()
const id = z.string().regex(/^[0-9a-z]{8}$/)

const pin = z.object({ reason: z.string(), until: time.optional() })

/** As `everfold points --json` lists it; see chain/point-summary.ts. */
export const pointSchema = z
  .strictObject({
    machine: z.string(),
    point: id,
    kind: z.enum(['full', 'incremental']),
    createdAt: time,
    note: z.string().optional(),
    consistency: z.enum(['filesystem', 'application']).optional().meta({
      description: 'What the source did before its disks were read; absent: nothing, as after a power cut',
    }),
    pin: pin.optional(),
    disks: z.array(z.strictObject({ id: z.string(), sizeBytes: bytes })),
    sizeBytes: bytes,
    readBytes: bytes,
    changedBytes: bytes,
    newBytes: bytes,
    storedBytes: bytes,
    seconds: z.number(),
  })
  .meta({ id: 'Point' })

export const pointsSchema = z
  .strictObject({
    machine: z.string(),
    points: z.array(pointSchema).meta({ description: 'Oldest first' }),
    newestStateDamaged: z.boolean().meta({ description: 'There may have been newer points' }),
  })
  .meta({ id: 'Points' })

export const machinesSchema = z
  .strictObject({
    machines: z.array(
      z.strictObject({
        machine: z.string(),
        points: bytes,
        newest: z.strictObject({ point: id, createdAt: time }).nullable(),
        sizeBytes: bytes.meta({ description: 'Of its disks at the newest point' }),
        damage: z
          .enum(['none', 'newest state', 'whole chain'])
          .meta({ description: 'Whether chain states are damaged; damage to data is what verify finds' }),
      }),
    ),
  })
  .meta({ id: 'Machines' })

export const extentsSchema = z
  .array(
    z.strictObject({
      offset: bytes,
      length: bytes,
      zero: z.boolean().optional().meta({ description: 'Absent with `since`' }),
    }),
  )
  .meta({ id: 'Extents' })

export const foldSchema = z
  .strictObject({
    machine: z.string(),
    removed: z.array(id),
    kept: z.array(id),
    readBytes: bytes,
    writtenBytes: bytes,
    seconds: z.number(),
  })
  .meta({ id: 'Fold' })

export const pinSchema = z
  .strictObject({ machine: z.string(), point: id, pin: pin.nullable(), before: pin.nullable() })
  .meta({ id: 'Pin' })

export const machineRemovedSchema = z
  .strictObject({ machine: z.string(), removed: z.array(id) })
  .meta({ id: 'MachineRemoved' })

export const storageReportSchema = z
  .strictObject({
    repository: z
      .strictObject({
        logicalBytes: bytes,
        uniqueBytes: bytes,
        liveBytes: bytes,
        deadBytes: bytes,
        storedBytes: bytes,
        packs: bytes,
      })
      .nullable()
      .meta({ description: 'Null for a token that is not for all machines' }),
    machines: z.array(
      z.strictObject({
        machine: z.string(),
        points: bytes,
        logicalBytes: bytes.meta({ description: 'Its points as plain disk images' }),
        ownBytes: bytes.meta({ description: 'Stored bytes that it alone keeps' }),
        sharedBytes: bytes.meta({ description: 'Stored bytes that it keeps together with others' }),
      }),
    ),
  })
  .meta({ id: 'StorageReport' })

export const protectionReportSchema = z
  .strictObject({
    generatedAt: time,
    machines: z.array(
      z.strictObject({
        machine: z.string(),
        points: bytes,
        oldestAt: time.nullable(),
        newest: id.nullable(),
        newestAt: time.nullable(),
        ageSeconds: bytes.nullable(),
        expectedIntervalSeconds: bytes.nullable().meta({
          description: 'As configured, or else the median of the last intervals; null below three points',
        }),
        expectedFrom: z.enum(['configuration', 'median']).nullable(),
        missedIntervals: bytes
          .nullable()
          .meta({ description: 'Whole expected intervals since the newest point, beyond the first' }),
        state: z
          .enum(['on time', 'late', 'never', 'unknown'])
          .meta({ description: 'late: an interval was missed; never: there is no point' }),
        sizeBytes: bytes,
        changedBytes7Days: bytes.meta({
          description: 'By the points of the last seven days, the full left out',
        }),
        storedBytes7Days: bytes,
        storedBytesPerDay: bytes.nullable().meta({
          description: 'How fast it grows: by the points of the last seven days, the full left out',
        }),
        deduplicationRatio: ratio.meta({ description: 'Changed bytes to new ones, of all points there are' }),
        compressionRatio: ratio.meta({ description: 'New bytes to stored ones, likewise' }),
        damage: z.enum(['none', 'newest state', 'whole chain']),
      }),
    ),
  })
  .meta({ id: 'ProtectionReport' })
