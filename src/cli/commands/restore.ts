import { rmSync } from 'node:fs'
import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { EverfoldError } from '../../errors.js'
import { checkName } from '../../names.js'
import { type FinishableTarget, openFileTarget } from '../../restore/file-target.js'
import { openOntoTarget } from '../../restore/onto-target.js'
import { RECALL_TIERS, type RecallTier } from '../../store/archive.js'
import { cleaningUp } from '../interrupted.js'
import type { OpenedDisk, OpenedPoint } from '../operations.js'
import { bytes } from '../output.js'
import { parseBetween, parseDuration } from '../parse.js'
import { showProgress } from '../progress.js'
import { type CommonOptions, collectPair, parsePair, printResult, withOperations } from '../run.js'

/** Each day costs. */
const RECALL_DAYS_MAX = 365

type Pair = readonly [string, string]

interface RestoreOptions extends CommonOptions {
  readonly force?: true
  readonly onto?: readonly Pair[]
  readonly ontoPoint?: string
  readonly patience?: number
  readonly recall?: number
  readonly recallTier: RecallTier
}

/** A disk that is wanted, and where. */
interface Wish {
  readonly id: string
  readonly path: string
  /** What is there already: only what differs is written. */
  readonly since?: string
}

export function addRestore(program: Command): void {
  program
    .command('restore')
    .description('Write disks as they were at a point; each chunk is checked against its hash.')
    .argument('<machine>')
    .argument(
      '<point>',
      'its id or a unique prefix, latest, parent, or a time (the newest point at or before it)',
    )
    .argument('[disk=out...]', 'each disk, and the file (made sparse) or block device to write it to')
    .option('--force', 'overwrite files that exist')
    .option(
      '--onto <disk=existing>',
      'write only what differs to this file or device, which holds the disk as at --onto-point; repeatable',
      collectPair,
    )
    .option('--onto-point <point>', 'the point that those files and devices hold')
    .option(
      '--patience <duration>',
      'with --server: how long to go on without progress (default: 10min)',
      parseDuration,
    )
    .option(
      '--recall <days>',
      'of a bucket: ask for archived objects that are needed, to be readable for so many days',
      parseBetween(1, RECALL_DAYS_MAX),
    )
    .addOption(
      new Option('--recall-tier <tier>', 'how fast, and at what price')
        .choices(RECALL_TIERS)
        .default('standard'),
    )
    .addHelpText(
      'after',
      `
With --recall, this ends with OBJECT_ARCHIVED while objects are on their way: give the same command again until it restores.

While --onto changes a file, the file is called NAME.BEFORE-to-AFTER.partial. Interrupted, it keeps that name: the same command goes on
with it. A device has no other name: give the same command again until it succeeds. Nothing proves that --onto-point is right: where that
is not certain, restore all of the disk.

Examples:
  everfold restore web1 latest vda=/tmp/web1.raw
  everfold restore web1 2026-05-31T18:00:00Z vda=/dev/vg0/web1 --force
  everfold restore web1 latest --onto vda=web1.raw --onto-point k3f9`,
    )
    .action(
      async (
        machine: string,
        wanted: string,
        disks: readonly string[],
        options: RestoreOptions,
        command: Command,
      ) => {
        const started = performance.now()
        const restored = await withOperations(
          options,
          command,
          async (operations) => {
            const wishes = wishesOf(disks, options)
            const patienceMs = options.patience === undefined ? undefined : options.patience * 1000
            const opened = await operations.openPoint(machine, wanted, wishes, patienceMs)
            try {
              await recall(opened, options)
              return await writeAll(opened, wishes, options)
            } finally {
              opened.close()
            }
          },
          { threads: true },
        )
        const seconds = Math.round(performance.now() - started) / 1000
        await printResult(options, { ...restored, seconds }, () => describe(restored))
      },
    )
}

async function recall(
  opened: OpenedPoint,
  { recall: days, recallTier: tier }: RestoreOptions,
): Promise<void> {
  if (days === undefined) return
  if (opened.recall === undefined)
    throw new EverfoldError(
      'ARGUMENT_INVALID',
      'Objects are recalled from where the bucket can be reached: with --repo, without --server, while no service has it.',
    )
  await opened.recall({ days, tier })
}

interface Restored {
  readonly machine: string
  readonly point: string
  readonly createdAt: string
  readonly disks: readonly {
    readonly id: string
    readonly sizeBytes: number
    readonly path: string
    readonly since?: string
    readonly writtenBytes?: number
  }[]
}

function describe({ machine, point, disks }: Restored): string {
  const line = ({ id, sizeBytes, path, since, writtenBytes }: Restored['disks'][number]): string =>
    since === undefined || writtenBytes === undefined
      ? `Restored ${id} of ${machine} at ${point} to ${path}: ${bytes(sizeBytes)}, all chunks checked.`
      : `Brought ${id} of ${machine} from ${since} to ${point} in ${path}: wrote ${bytes(writtenBytes)} of ${bytes(sizeBytes)}, all of it checked.`
  return disks.map(line).join('\n')
}

/** Writes all disks, and gives them their names once all are whole. */
async function writeAll(
  opened: OpenedPoint,
  wishes: readonly Wish[],
  options: RestoreOptions,
): Promise<Restored> {
  const { machine, point, createdAt } = opened
  const work = wishes.map((wish, i) => {
    const disk = opened.disks[i]
    if (disk === undefined) throw new Error('every disk that was asked for is opened')
    return { path: wish.path, disk }
  })
  const totalBytes = work.reduce((sum, { disk }) => sum + disk.totalBytes, 0)
  const progress = showProgress(`restoring ${machine}`, options.json === true)
  const targets: FinishableTarget[] = []
  const temporaries: string[] = []
  const write = async (): Promise<void> => {
    for (const { path, disk } of work)
      targets.push(
        await openTarget(path, point, disk, options.force === true, (name) => temporaries.push(name)),
      )
    let before = 0
    for (const [i, { disk }] of work.entries()) {
      const target = targets[i]
      if (target === undefined) continue
      await disk.write(target, (done) => {
        progress.update(before + done, totalBytes)
      })
      before += disk.totalBytes
    }
    for (const target of targets) await target.finish()
  }
  const abandonNow = (): void => {
    for (const name of temporaries) rmSync(name, { force: true })
  }
  try {
    await cleaningUp(abandonNow, write)
  } catch (error) {
    for (const target of targets) await target.abandon()
    throw error
  } finally {
    progress.stop()
  }
  const disks = work.map(({ path, disk: { id, sizeBytes, since, totalBytes: writtenBytes } }) => ({
    id,
    sizeBytes,
    path,
    ...(since === undefined ? {} : { since: since.point, writtenBytes }),
  }))
  return { machine, point, createdAt, disks }
}

function openTarget(
  path: string,
  point: string,
  { since, sizeBytes }: OpenedDisk,
  force: boolean,
  announce: (temporary: string) => void,
): Promise<FinishableTarget> {
  return since === undefined
    ? openFileTarget(path, sizeBytes, force, announce)
    : openOntoTarget(path, since, { point, sizeBytes })
}

function wishesOf(texts: readonly string[], { onto = [], ontoPoint }: RestoreOptions): readonly Wish[] {
  if (onto.length > 0 && ontoPoint === undefined)
    throw new EverfoldError(
      'ARGUMENT_INVALID',
      'Which point is in the files that --onto names? Give --onto-point POINT.',
    )
  if (texts.length + onto.length === 0)
    throw new EverfoldError(
      'ARGUMENT_INVALID',
      'Name at least one disk and file: DISK=OUT, such as vda=restored.raw.',
    )
  const since = ontoPoint === undefined ? {} : { since: ontoPoint }
  const wishes = [
    ...texts.map(parseDisk).map(([id, path]) => ({ id: checkName('disk', id), path })),
    ...onto.map(([id, path]) => ({ id: checkName('disk', id), path, ...since })),
  ]
  const paths = wishes.map(({ path }) => resolve(path))
  const twice = paths.find((path, i) => paths.indexOf(path) < i)
  if (twice === undefined) return wishes
  throw new EverfoldError('ARGUMENT_INVALID', `Two disks cannot both be restored to ${twice}.`)
}

function parseDisk(text: string): Pair {
  try {
    return parsePair(text)
  } catch {
    throw new EverfoldError(
      'ARGUMENT_INVALID',
      `"${text}" names no disk and file. Write DISK=OUT, such as vda=restored.raw.`,
    )
  }
}
