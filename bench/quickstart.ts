import { createHash } from 'node:crypto'
import { createReadStream, realpathSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { exitOnSignals, run } from './command.js'
import { type Edit, planEdits } from './edits.js'
import { compareImages, feedBlockBytes } from './feed.js'
import { editImage, GiB, type Image, KiB, MiB, makeImage, requireSpace } from './image.js'
import { everfoldMain } from './paths.js'
import { realFiles } from './real-files.js'
import { formatBytes, formatRatio, formatTable } from './report.js'
import { type ServiceProcess, startService, stopService } from './service-process.js'

/** What `everfold backup --json` says, as far as it is shown here. */
const backupReport = z.object({
  point: z.string(),
  kind: z.enum(['full', 'incremental']),
  changedBytes: z.number(),
  newBytes: z.number(),
  storedBytes: z.number(),
  seconds: z.number(),
})

interface Backup {
  readonly report: z.infer<typeof backupReport>
  /** SHA-256 of the whole image at that time. */
  readonly imageHash: string
}

/** How much of the image is filled: 1.15 GiB of 2. */
const filledShare = 0.575

/** More of this machine's files than the first full holds, to be added by edits. */
const laterBytes = 96 * MiB

/** Room for the image, its previous state, a restored one and the repository, per byte of data. */
const spaceShare = 4.5

const disk = 'disk.img'
const previous = 'previous.img'

function say(text: string): void {
  console.log(text)
}

function heading(text: string): void {
  say(`\n== ${text}`)
}

/** The steps, in one temporary folder. */
class Quickstart {
  readonly #work: string
  readonly #sizeBytes: number
  readonly #embedded: boolean
  readonly #startMs = performance.now()
  /** What tells commands where the repository or the service is. */
  #where: Readonly<Record<string, string>> = { EVERFOLD_REPO: 'repository' }
  #feedExplained = false

  constructor(work: string, sizeBytes: number, embedded: boolean) {
    this.#work = work
    this.#sizeBytes = sizeBytes
    this.#embedded = embedded
  }

  async run(): Promise<void> {
    const dataBytes = this.#sizeBytes * filledShare
    requireSpace(this.#work, dataBytes * spaceShare, 'set TMPDIR to a folder with more room')
    const edits = await this.#makeImage(dataBytes)

    heading(this.#embedded ? 'A repository' : 'A repository, and a service for it')
    await this.#everfold('init', 'repository')
    const service = this.#embedded ? undefined : await this.#serve()
    await this.#takeAndRestore(edits)
    if (service !== undefined) {
      await stopService(service)
      say('  the service has stopped')
    }
    const took = Math.round((performance.now() - this.#startMs) / 1000)
    say(`All this took ${took} s, and is removed now. By hand: see README.md.`)
  }

  /** From here on, commands go through a service: that of this computer, as it could be on another. */
  async #serve(): Promise<ServiceProcess> {
    say('  $ everfold serve --repo repository --listen 127.0.0.1:0')
    const service = await startService(this.#path('repository'))
    say(`  it listens on ${service.url}, after ${seconds(service.startSeconds)}`)
    say(`  $ export EVERFOLD_SERVER=${service.url} EVERFOLD_TOKEN=${service.token.slice(0, 18)}…`)
    this.#where = { EVERFOLD_SERVER: service.url, EVERFOLD_TOKEN: service.token, EVERFOLD_REPO: '' }
    return service
  }

  async #takeAndRestore(edits: readonly Edit[]): Promise<void> {
    heading('A full backup')
    const backups = [await this.#backup()]
    for (const [number, edit] of edits.entries()) {
      heading(`Change ${number + 1} of ${edits.length}: ${edit.title}`)
      backups.push(await this.#changeAndBackup(edit, `feed-${number + 1}.json`))
    }

    heading('Every point restored and compared')
    for (const backup of backups) await this.#restore(backup)

    heading('The repository verified')
    const found = await this.#everfold('verify')
    for (const line of found.trim().split('\n')) say(`  ${line}`)
    this.#summarise(backups)
  }

  async #makeImage(dataBytes: number): Promise<Edit[]> {
    const size = formatBytes(this.#sizeBytes)
    heading(`A disk image: ${size} of ext4, filled with files of this machine`)
    const files = realFiles(dataBytes + laterBytes)
    const image: Image = await makeImage({
      path: this.#path(disk),
      sizeBytes: this.#sizeBytes,
      dataBytes,
      files,
    })
    const repeated = image.layouts > 1 ? `, laid out ${image.layouts} times: this machine has no more` : ''
    say(`  ${image.files.length} files, ${formatBytes(image.dataBytes)}${repeated}`)
    const used = new Set(image.files.map((file) => file.path))
    const fresh = files.filter((file) => !used.has(file.path))
    return await planEdits({ fresh, present: image.files }, this.#work)
  }

  async #changeAndBackup(edit: Edit, feed: string): Promise<Backup> {
    await this.#program('cp', '--sparse=always', '--reflink=auto', disk, previous)
    await editImage(this.#path(disk), edit.commands, this.#work)
    say('  done by debugfs, through the filesystem; e2fsck finds it clean')
    const extents = await compareImages(this.#path(previous), this.#path(disk))
    await writeFile(this.#path(feed), JSON.stringify(extents))
    await rm(this.#path(previous))
    const changedBytes = extents.reduce((sum, { length }) => sum + length, 0)
    say(`  ${feed}: ${extents.length} extents, ${formatBytes(changedBytes)}`)
    if (!this.#feedExplained) this.#explainFeed()
    return await this.#backup('--changed', `sda=${feed}`)
  }

  #explainFeed(): void {
    this.#feedExplained = true
    say('  (A hypervisor records such changes as they happen. Here they come from comparing the image with a')
    say(`  copy of it, in blocks of ${feedBlockBytes / KiB} KiB.)`)
  }

  async #backup(...options: string[]): Promise<Backup> {
    const output = await this.#everfold('backup', 'web1', `sda=${disk}`, ...options, '--json')
    const report = backupReport.parse(JSON.parse(output))
    say(
      `  ${report.kind} ${report.point}: ${formatBytes(report.storedBytes)} stored in ${seconds(report.seconds)}`,
    )
    return { report, imageHash: await this.#hash(disk) }
  }

  async #restore({ report, imageHash }: Backup): Promise<void> {
    const output = 'restored.img'
    const startMs = performance.now()
    await this.#everfold('restore', 'web1', report.point, `sda=${output}`)
    const took = seconds((performance.now() - startMs) / 1000)
    const restoredHash = await this.#hash(output)
    if (restoredHash !== imageHash) {
      throw new Error(
        `Point ${report.point} is not what was backed up: SHA-256 ${restoredHash}, not ${imageHash}`,
      )
    }
    await rm(this.#path(output))
    say(`  identical: SHA-256 ${imageHash.slice(0, 16)}…, restored in ${took}`)
  }

  #summarise(backups: readonly Backup[]): void {
    const rows = backups.map(({ report }) => [
      report.point,
      report.kind,
      formatBytes(report.changedBytes),
      formatBytes(report.newBytes),
      formatBytes(report.storedBytes),
      seconds(report.seconds),
      formatRatio(report.changedBytes, report.newBytes),
      formatRatio(report.newBytes, report.storedBytes),
    ])
    const head = ['point', 'kind', 'changed', 'new', 'stored', 'time', 'deduplication', 'compression']
    say(`\n${formatTable([head, ...rows], 2)}\n`)
    say('changed: what the point covers; new: what of it was in no earlier chunk; stored: new, compressed.')
    say(
      'Deduplication is changed : new, with blocks of zeros, which cost nothing; compression is new : stored.\n',
    )
    const stored = formatBytes(backups.reduce((total, { report }) => total + report.storedBytes, 0))
    const logical = formatBytes(this.#sizeBytes * backups.length)
    say(
      `${backups.length} points, ${logical} as plain images, kept in ${stored}; each restored and identical.`,
    )
  }

  #path(name: string): string {
    return join(this.#work, name)
  }

  async #program(program: string, ...args: string[]): Promise<string> {
    return (await run({ program, args, cwd: this.#work, env: this.#where })).stdout
  }

  async #everfold(...args: string[]): Promise<string> {
    say(`  $ everfold ${args.join(' ')}`)
    return await this.#program(process.execPath, everfoldMain, ...args)
  }

  async #hash(name: string): Promise<string> {
    const hash = createHash('sha256')
    await pipeline(createReadStream(this.#path(name), { highWaterMark: 4 * MiB }), hash)
    return hash.digest('hex')
  }
}

function seconds(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 1)} s`
}

/** Run by `scripts/quickstart`, which makes the folder and removes it. */
async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      work: { type: 'string' },
      'size-gib': { type: 'string', default: '2' },
      embedded: { type: 'boolean', default: false },
    },
  })
  if (values.work === undefined) throw new Error('Run scripts/quickstart: it makes the folder to work in')
  const sizeGib = Number(values['size-gib'])
  if (!(sizeGib > 0)) throw new Error(`--size-gib takes a number above 0, not "${values['size-gib']}"`)
  const sizeBytes = Math.max(1, Math.round((sizeGib * GiB) / MiB)) * MiB
  await new Quickstart(realpathSync(values.work), sizeBytes, values.embedded).run()
}

exitOnSignals()
try {
  await main(process.argv.slice(2))
} catch (error) {
  console.error(`quickstart: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}
