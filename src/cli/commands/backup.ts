import { readFile, stat } from 'node:fs/promises'
import type { Command } from 'commander'
import { Option } from 'commander'
import type { DiskBackup } from '../../chain/backup.js'
import { EverfoldError, messageOf } from '../../errors.js'
import { decodeFeed } from '../../feed/decode-feed.js'
import { type DiskSource, openDiskSource } from '../../feed/disk-source.js'
import type { BackupOutcome, Transfer } from '../operations.js'
import { bytes } from '../output.js'
import { parseDuration } from '../parse.js'
import { showProgress } from '../progress.js'
import { type CommonOptions, collectPair, parsePair, printResult, withOperations } from '../run.js'
import { writeTrouble } from '../trouble.js'
import { idList, points } from './fold.js'

type Pair = readonly [string, string]

interface BackupOptions extends CommonOptions {
  readonly changed?: readonly Pair[]
  readonly note?: string
  readonly chunker?: 'fixed' | 'cdc'
  readonly transfer: Transfer
  readonly patience?: number
}

/** The point is safe, but what its machine's retention policy wanted was not done. */
const EXIT_RETENTION_FAILED = 8

/** Larger feeds are refused: 1 GiB of JSON names some 25 million extents. */
const FEED_BYTES_MAX = 1024 ** 3

export function addBackup(program: Command): void {
  program
    .command('backup')
    .description('Take a recovery point of a machine: all disks named, together, or nothing.')
    .argument('<machine>', 'name of the machine; its first backup makes it')
    .argument('<disk=path...>', 'each disk, and the file or block device to read it from')
    .option(
      '--changed <disk=feed>',
      'read only what this changed-block feed (JSON) names; repeatable',
      collectPair,
    )
    .option('--note <text>', 'a remark to keep with the point')
    .addOption(
      new Option(
        '--chunker <kind>',
        'how to cut a new disk into chunks: by content (finds more repetition), or on a fixed grid (a little faster)',
      ).choices(['fixed', 'cdc']),
    )
    .addOption(
      new Option(
        '--transfer <way>',
        'with --server: send only chunks that it lacks, compressed (offers), or all data as it is, with less work here (stream)',
      )
        .choices(['offers', 'stream'])
        .default('offers'),
    )
    .option(
      '--patience <duration>',
      'with --server: how long to go on without progress (default: 10min)',
      parseDuration,
    )
    .addHelpText(
      'after',
      `
Without --changed everything is read, and only what differs from the newest point is stored.
A feed is a list [{"offset": bytes, "length": bytes}, …] or VMware's answer to QueryChangedDiskAreas.
A disk is cut by content (cdc) unless --chunker says otherwise or its name ends in .fixed; it keeps the way of its first point.
With --server, broken connections and restarts of the service are waited for, and what has arrived is not sent again.

Examples:
  everfold backup web1 vda=web1.raw
  everfold backup db1 vda=/dev/vg0/db1-snap vdb=/dev/vg0/data-snap --note 'before the upgrade'
  everfold backup web1 vda=web1.raw --changed vda=changes.json --json
  everfold backup web1 vda=web1.raw --server https://backup.example:7070 --token-file token --patience 1h`,
    )
    .action(async (machine: string, disks: readonly string[], options: BackupOptions, command: Command) => {
      const pairs = disks.map(parseDisk)
      // Beside the repository. What goes wrong is said when that is open.
      const opening = openDisks(pairs, options)
      opening.catch(() => undefined)
      const result = await withOperations(
        options,
        command,
        async (operations) => {
          const opened = await opening
          const progress = showProgress(`backing up ${machine}`, options.json === true)
          try {
            return await operations.backUp({
              machine,
              disks: opened,
              transfer: options.transfer,
              ...(options.patience === undefined ? {} : { patienceMs: options.patience * 1000 }),
              ...(options.note === undefined ? {} : { note: options.note }),
              onProgress: (done, total) => {
                progress.update(done, total)
              },
            })
          } finally {
            progress.stop()
          }
        },
        { threads: true },
      ).finally(() => opening.then(closeDisks, () => undefined))
      const { retention } = result
      if (retention !== undefined && 'error' in retention) {
        writeTrouble(retention.error, 'the backup is safe, but retention failed: ')
        process.exitCode = EXIT_RETENTION_FAILED
      }
      await printResult(options, result, () => describe(result))
    })
}

function parseDisk(text: string): Pair {
  try {
    return parsePair(text)
  } catch {
    throw new EverfoldError(
      'ARGUMENT_INVALID',
      `"${text}" names no disk. Write DISK=PATH, such as vda=disk.raw.`,
    )
  }
}

/** Opens all disks, or none. */
async function openDisks(pairs: readonly Pair[], options: BackupOptions): Promise<readonly DiskBackup[]> {
  const opened: DiskBackup[] = []
  try {
    for (const [id, path] of pairs) opened.push(await openDisk(id, path, options))
    refuseUnusedFeeds(opened, options)
    return opened
  } catch (error) {
    await closeDisks(opened)
    throw error
  }
}

async function closeDisks(disks: readonly DiskBackup[]): Promise<void> {
  for (const disk of disks) await disk.source.close()
}

async function openDisk(id: string, path: string, options: BackupOptions): Promise<DiskBackup> {
  const source = await openDiskSource(path)
  try {
    const feeds = (options.changed ?? []).filter(([disk]) => disk === id)
    if (feeds.length > 1)
      throw new EverfoldError('ARGUMENT_INVALID', `Disk "${id}" has more than one --changed.`)
    const feed = feeds[0]
    const changed = feed === undefined ? undefined : await readFeed(feed[1], source)
    const chunker = options.chunker ?? suffixChunker(id)
    return { id, source, changed, ...(chunker === undefined ? {} : { chunker }) }
  } catch (error) {
    await source.close()
    throw error
  }
}

function suffixChunker(id: string): 'fixed' | 'cdc' | undefined {
  if (id.endsWith('.cdc')) return 'cdc'
  return id.endsWith('.fixed') ? 'fixed' : undefined
}

async function readFeed(path: string, source: DiskSource): Promise<ReturnType<typeof decodeFeed>> {
  let content: Uint8Array
  try {
    const { size } = await stat(path)
    if (size > FEED_BYTES_MAX) throw new Error(`it is larger than ${bytes(FEED_BYTES_MAX)}`)
    content = await readFile(path)
  } catch (error) {
    throw new EverfoldError('FEED_INVALID', `Cannot read the feed ${path}: ${messageOf(error)}`, {
      cause: error,
    })
  }
  return decodeFeed(content, source.sizeBytes, path)
}

function refuseUnusedFeeds(disks: readonly DiskBackup[], options: BackupOptions): void {
  for (const [id] of options.changed ?? [])
    if (!disks.some((disk) => disk.id === id))
      throw new EverfoldError(
        'ARGUMENT_INVALID',
        `--changed names disk "${id}", which is not being backed up.`,
      )
}

function describe(result: BackupOutcome): string {
  const { retention } = result
  const removed = retention !== undefined && 'removed' in retention ? retention.removed : []
  const { machine, point, kind, seconds } = result
  return (
    `Point ${point} of ${machine} (${kind}) is safe: read ${bytes(result.readBytes)}, changed ${bytes(result.changedBytes)}, ` +
    `new ${bytes(result.newBytes)}, stored ${bytes(result.storedBytes)}, in ${seconds.toFixed(1)} s.` +
    (removed.length === 0 ? '' : `\nRetention removed ${points(removed.length)}: ${idList(removed)}.`)
  )
}
