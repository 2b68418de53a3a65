import './schemas-read-once.js'
import { CommanderError } from 'commander'
import { EverfoldError, systemErrorCode } from '../errors.js'
import { makeProgram } from './program.js'
import { reportError } from './run.js'

// Whoever reads our output may stop, as head(1) does. That ends no backup, and is no failure.
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error) => {
    if (systemErrorCode(error) !== 'EPIPE') throw error
  })

/** Runs the command that was given, and sets the exit status. */
export async function runCommandLine(): Promise<void> {
  const json = process.argv.includes('--json')
  try {
    await (await makeProgram(process.argv[2])).parseAsync()
  } catch (error) {
    if (!(error instanceof CommanderError)) process.exitCode = reportError(error, json)
    // The help that was asked for, or that is shown where no command was named, is out already.
    else if (error.exitCode === 0 || error.code === 'commander.help')
      process.exitCode = error.exitCode === 0 ? 0 : 2
    else process.exitCode = reportError(usageError(error), json)
  }
}

/** What is wrong with the arguments, said as all other errors are. */
function usageError(error: CommanderError): EverfoldError {
  const problem = error.message.replace(/^error: /, '').replaceAll('\n', ' ')
  return new EverfoldError('ARGUMENT_INVALID', `${problem.replace(/([^.?!)])$/, '$1.')} See --help.`, {
    cause: error,
  })
}
