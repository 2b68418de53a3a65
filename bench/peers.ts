import { join } from 'node:path'
import { type Command, run } from './command.js'
import { everfoldMain } from './paths.js'

/** Where a tool works in one round. The image's name is the same in each, so that tools find its earlier state. */
export interface Place {
  /** The folder that holds the image; tools run in it. */
  readonly imageFolder: string
  readonly imageName: string
  /** Another disk with the same files, in the same folder. */
  readonly secondName: string
  /** The tool's repository. It does not exist before `init`. */
  readonly repository: string
  /** For the tool's caches and settings, outside its repository. */
  readonly state: string
  /** What changed between full and incremental. Only Everfold can read it. */
  readonly feed: string
  /** What `incremental` calls the point that it makes, where a tool wants a name. */
  readonly archive: string
  /** An empty folder to restore into. */
  readonly output: string
}

/** A backup program, as the commands that do the same work in each. */
export interface Tool {
  readonly name: string
  /** What it is measured with, as shown beside the figures. */
  readonly settings: string
  /** `package:command` pairs for `scripts/prepare`. */
  readonly packages: readonly string[]
  version(): Promise<string>
  init(place: Place): Command
  full(place: Place): Command
  /** Without a feed, when nothing changed. */
  again(place: Place): Command
  /** Another machine's full. */
  second(place: Place): Command
  incremental(place: Place): Command
  /** Restores what `incremental` saved. */
  restore(place: Place): Command
  /** The file that `restore` writes. */
  restoredFile(place: Place): string
}

async function firstLine(program: string, args: readonly string[]): Promise<string> {
  const { stdout } = await run({ program, args })
  return stdout.trim().split('\n')[0] ?? ''
}

/** @param main  The built command to measure: another build's may be named to compare it with this one. */
export function everfold(main: string = everfoldMain): Tool {
  const everfoldCommand = (place: Place, ...args: string[]): Command => ({
    program: process.execPath,
    args: [main, ...args, '--repo', place.repository, '--json'],
    cwd: place.imageFolder,
  })
  const disk = (place: Place): string => `disk0=${place.imageName}`
  const restoredFile = (place: Place): string => join(place.output, 'restored.img')
  return {
    name: 'everfold',
    settings: 'defaults; incremental from a changed-block feed',
    packages: [],
    version: () => firstLine(process.execPath, [main, '--version']),
    init: (place) => ({ program: process.execPath, args: [main, 'init', place.repository] }),
    full: (place) => everfoldCommand(place, 'backup', 'bench', disk(place)),
    again: (place) => everfoldCommand(place, 'backup', 'bench', disk(place)),
    second: (place) => everfoldCommand(place, 'backup', 'second', `disk0=${place.secondName}`),
    incremental: (place) =>
      everfoldCommand(place, 'backup', 'bench', disk(place), '--changed', `disk0=${place.feed}`),
    restore: (place) => everfoldCommand(place, 'restore', 'bench', 'latest', `disk0=${restoredFile(place)}`),
    restoredFile,
  }
}

const restic: Tool = {
  name: 'restic',
  settings: 'repository version 2, compression auto (zstd), encrypted (it has no other way)',
  packages: ['restic:restic'],
  version: () => firstLine('restic', ['version']),
  init: (place) => resticCommand(place, 'init', '--repository-version', '2'),
  full: (place) => resticCommand(place, 'backup', place.imageName),
  again: (place) => resticCommand(place, 'backup', place.imageName),
  second: (place) => resticCommand(place, 'backup', place.secondName),
  incremental: (place) => resticCommand(place, 'backup', place.imageName),
  restore: (place) => resticCommand(place, 'restore', 'latest', '--target', place.output),
  restoredFile: (place) => join(place.output, place.imageName),
}

function resticCommand(place: Place, ...args: string[]): Command {
  return {
    program: 'restic',
    args,
    cwd: place.imageFolder,
    env: {
      RESTIC_REPOSITORY: place.repository,
      RESTIC_CACHE_DIR: place.state,
      RESTIC_PASSWORD: 'benchmark',
    },
  }
}

const borg: Tool = {
  name: 'borg',
  settings: '--compression zstd, not encrypted (-e none)',
  packages: ['borgbackup:borg'],
  version: () => firstLine('borg', ['--version']),
  init: (place) => borgCommand(place, 'init', '-e', 'none', place.repository),
  full: (place) => borgCreate(place, 'full', place.imageName),
  again: (place) => borgCreate(place, 'again', place.imageName),
  second: (place) => borgCreate(place, 'second', place.secondName),
  incremental: (place) => borgCreate(place, place.archive, place.imageName),
  restore: (place) => ({
    ...borgCommand(place, 'extract', `${place.repository}::${place.archive}`),
    cwd: place.output,
  }),
  restoredFile: (place) => join(place.output, place.imageName),
}

function borgCommand(place: Place, ...args: string[]): Command {
  return { program: 'borg', args, cwd: place.imageFolder, env: { BORG_BASE_DIR: place.state } }
}

function borgCreate(place: Place, archive: string, imageName: string): Command {
  return borgCommand(place, 'create', '--compression', 'zstd', `${place.repository}::${archive}`, imageName)
}

export const peers: readonly Tool[] = [restic, borg]
