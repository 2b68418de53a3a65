import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { MiB } from './image.js'
import { type RealFile, totalBytes } from './real-files.js'

/** One day's work on a filesystem. */
export interface Edit {
  readonly title: string
  /** debugfs commands. */
  readonly commands: readonly string[]
}

/** Files to be added to an image, and those that are in it already. */
export interface EditMaterial {
  readonly fresh: readonly RealFile[]
  readonly present: readonly RealFile[]
}

const addedBytes = 24 * MiB
const replacedBytes = 12 * MiB
const removedBytes = 16 * MiB
const logBytes = 6 * MiB
const randomFileBytes = 4 * MiB

/** Larger files would make an edit a single stretch of the disk. */
const editedFileMax = 2 * MiB

/** Names without anything that debugfs could take for something else. */
const plainPath = /^[\w./+-]+$/

function editable(files: readonly RealFile[]): RealFile[] {
  return files.filter((file) => file.bytes <= editedFileMax && plainPath.test(file.path))
}

/** Takes files from all over a list, every n-th, until they have about the bytes wanted. */
function spread(files: readonly RealFile[], bytes: number): RealFile[] {
  const step = Math.max(1, Math.floor(totalBytes(files) / bytes))
  return files.filter((_, at) => at % step === 0)
}

function removal(file: RealFile): string {
  return `rm "${file.path}"`
}

/** debugfs writes into its working folder only. */
function writing(source: string, target: string): string[] {
  return [`cd "${dirname(target)}"`, `write "${source}" "${basename(target)}"`]
}

function logText(bytes: number): string {
  const lines: string[] = []
  for (let length = 0, line = 0; length < bytes; line += 1) {
    const text = `${new Date(1_700_000_000_000 + line * 937).toISOString()} worker[${line % 7}]: request ${line} took ${(line * 7919) % 4001} ms\n`
    lines.push(text)
    length += text.length
  }
  return lines.join('')
}

function describe(files: readonly RealFile[]): string {
  return `${files.length} files (${(totalBytes(files) / MiB).toFixed(0)} MiB)`
}

/**
 * Plans three days of ordinary work: new files; files replaced by others, as in an upgrade; files removed while a
 * log and a file of incompressible data appear.
 *
 * @param scratch  A folder for files that are made up here.
 */
export async function planEdits(material: EditMaterial, scratch: string): Promise<Edit[]> {
  const present = editable(material.present)
  const unused = editable(material.fresh)
  const fresh = totalBytes(unused) >= addedBytes + replacedBytes ? unused : [...unused, ...present]
  const half = Math.ceil(fresh.length / 2)
  const added = spread(fresh.slice(0, half), addedBytes)
  const replaced = spread(present, replacedBytes)
  const gone = new Set(replaced)
  const kept = present.filter((file) => !gone.has(file))
  const removed = spread(kept, removedBytes)
  const log = join(scratch, 'service.log')
  const noise = join(scratch, 'photos.bin')
  await writeFile(log, logText(logBytes))
  await writeFile(noise, randomBytes(randomFileBytes))
  return [
    {
      title: `${describe(added)} added`,
      commands: [
        'mkdir /new',
        ...added.flatMap((file, n) => writing(file.path, `/new/${n}-${basename(file.path)}`)),
      ],
    },
    {
      title: `${describe(replaced)} replaced by others`,
      commands: replaced.flatMap((file, n) => {
        const source = fresh[half + (n % (fresh.length - half))] ?? file
        return [removal(file), ...writing(source.path, file.path)]
      }),
    },
    {
      title: `${describe(removed)} removed, a log and random data written`,
      commands: [
        ...removed.map(removal),
        ...writing(log, '/new/service.log'),
        ...writing(noise, '/new/photos.bin'),
      ],
    },
  ]
}
