import { Command } from 'commander'
import { addBackup } from './commands/backup.js'
import { addDelete } from './commands/delete.js'
import { addDeleteMachine } from './commands/delete-machine.js'
import { addFold } from './commands/fold.js'
import { addGc } from './commands/gc.js'
import { addInit } from './commands/init.js'
import { addPin, addUnpin } from './commands/pin.js'
import { addPoints } from './commands/points.js'
import { addReindex } from './commands/reindex.js'
import { addRestore } from './commands/restore.js'
import { addRetain } from './commands/retain.js'
import { addServe } from './commands/serve.js'
import { addStats } from './commands/stats.js'
import { addToken } from './commands/token.js'
import { addVerify } from './commands/verify.js'
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

/** In the order in which the help lists them. */
const COMMANDS = [
  addInit,
  addBackup,
  addPoints,
  addRestore,
  addVerify,
  addRetain,
  addPin,
  addUnpin,
  addFold,
  addDelete,
  addDeleteMachine,
  addGc,
  addReindex,
  addStats,
  addServe,
  addToken,
]

/** The command line, ready to parse. It throws instead of exiting. */
export function makeProgram(): Command {
  const program = new Command('everfold')
    .description('Deduplicating incremental backup of disks, kept as one full and incrementals for ever.')
    .version('0.1.0')
    .addHelpText('after', EXAMPLES)
    // main says what is wrong, with its code.
    .configureOutput({ outputError: () => undefined })
    .exitOverride()
  for (const add of COMMANDS) add(program)
  for (const command of allOf(program)) {
    command.exitOverride()
    // Those that only hold others take no options.
    if (command.commands.length > 0) continue
    command.option('--json', 'print one JSON document on standard output and nothing else there')
    if (command.name() !== 'init') command.option('--repo <repo>', 'the repository (default: $EVERFOLD_REPO)')
    addServiceOptions(command)
  }
  return program
}

/** Commands, and the commands of commands. */
function allOf(command: Command): Command[] {
  return command.commands.flatMap((inner) => [inner, ...allOf(inner)])
}
