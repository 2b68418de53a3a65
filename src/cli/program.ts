import { Command } from 'commander'
import { parseStorageClass } from './parse.js'
import { addServiceOptions } from './service-options.js'

const EXAMPLES = `
Examples:
  everfold init /backup/repo
  export EVERFOLD_REPO=/backup/repo
  everfold backup web1 vda=/var/lib/images/web1.raw
  everfold backup web1 vda=/var/lib/images/web1.raw --changed vda=changes.json
  everfold points web1
  everfold restore web1 latest vda=/tmp/web1.raw
  everfold retain web1 --daily 7 --weekly 4 --monthly 12 --save
  everfold verify

Exit status: 0 done, 1 unexpected failure, 2 bad input, 3 not found, 4 busy or conflicting,
             5 damaged data, 6 a file or the store failed, 7 no space left,
             8 the backup is safe, but the retention after it failed.`

/** Commands that write what is large. */
const WRITES_PACKS: ReadonlySet<string> = new Set(['backup', 'gc', 'copy', 'serve'])

type Add = (program: Command) => void

/** In the order in which the help lists them. Each is loaded when it is named: what it needs takes time to load. */
const COMMANDS: Readonly<Record<string, () => Promise<Add>>> = {
  init: async () => (await import('./commands/init.js')).addInit,
  backup: async () => (await import('./commands/backup.js')).addBackup,
  points: async () => (await import('./commands/points.js')).addPoints,
  restore: async () => (await import('./commands/restore.js')).addRestore,
  verify: async () => (await import('./commands/verify.js')).addVerify,
  retain: async () => (await import('./commands/retain.js')).addRetain,
  pin: async () => (await import('./commands/pin.js')).addPin,
  unpin: async () => (await import('./commands/pin.js')).addUnpin,
  fold: async () => (await import('./commands/fold.js')).addFold,
  delete: async () => (await import('./commands/delete.js')).addDelete,
  'delete-machine': async () => (await import('./commands/delete-machine.js')).addDeleteMachine,
  copy: async () => (await import('./commands/copy.js')).addCopy,
  gc: async () => (await import('./commands/gc.js')).addGc,
  reindex: async () => (await import('./commands/reindex.js')).addReindex,
  recover: async () => (await import('./commands/recover.js')).addRecover,
  stats: async () => (await import('./commands/stats.js')).addStats,
  serve: async () => (await import('./commands/serve.js')).addServe,
  token: async () => (await import('./commands/token.js')).addToken,
  audit: async () => (await import('./commands/audit.js')).addAudit,
}

/**
 * The command line, ready to parse. It throws instead of exiting.
 * @param named  The command that is going to be asked for, if that is known: no other is loaded then.
 */
export async function makeProgram(named: string | undefined): Promise<Command> {
  const program = new Command('everfold')
    .description('Deduplicating incremental backup of disks, kept as one full and incrementals for ever.')
    .version('0.1.0')
    .addHelpText('after', EXAMPLES)
    // main says what is wrong, with its code.
    .configureOutput({ outputError: () => undefined })
    .exitOverride()
  const load = named === undefined ? undefined : COMMANDS[named]
  const wanted = load === undefined ? Object.values(COMMANDS) : [load]
  for (const add of await Promise.all(wanted.map((command) => command()))) add(program)
  for (const command of allOf(program)) {
    command.exitOverride()
    // Those that only hold others take no options.
    if (command.commands.length > 0) continue
    command.option('--json', 'print one JSON document on standard output and nothing else there')
    addServiceOptions(command)
    if (command.name() === 'init' || command.name() === 'recover') continue
    command.option(
      '--cache <folder>',
      'for a repository in a bucket: where its index and copies of small objects go (default: $EVERFOLD_CACHE, or everfold in your cache folder)',
    )
    if (WRITES_PACKS.has(command.name()))
      command.option(
        '--storage-class <class>',
        'in a bucket: of new packs, such as STANDARD_IA (default: $EVERFOLD_S3_STORAGE_CLASS); everything else stays in the standard class',
        parseStorageClass,
      )
    // It takes its repositories as arguments.
    if (command.name() === 'copy') continue
    command.option(
      '--repo <repo>',
      'the repository: a folder, or s3://BUCKET/PREFIX (default: $EVERFOLD_REPO)',
    )
  }
  return program
}

/** Commands, and the commands of commands. */
function allOf(command: Command): Command[] {
  return command.commands.flatMap((inner) => [inner, ...allOf(inner)])
}
