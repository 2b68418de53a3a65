import './schemas-read-once.js'
import { CommanderError } from 'commander'
import { ERROR_CLASSES, EverfoldError, messageOf, systemErrorCode } from '../errors.js'
import { makeProgram } from './program.js'
import { reportError } from './run.js'
import { writeTrouble } from './trouble.js'

// Whoever reads our output may stop, as head(1) does, or the disk that it goes to may be full. That ends no backup.
process.stderr.on('error', () => undefined)
process.stdout.on('error', (error) => {
  // To read no more is no failure; else somebody may wait for the result, such as the name of a point.
  if (systemErrorCode(error) === 'EPIPE') return
  writeTrouble({ code: 'TARGET_FAILED', message: `Cannot write to standard output: ${messageOf(error)}` })
  process.exitCode ??= ERROR_CLASSES.TARGET_FAILED.exit
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
