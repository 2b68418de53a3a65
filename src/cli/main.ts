import { prepareThreads } from '../pack/crew.js'

/*
 * Threads take as long to start as the command takes to load, so they start first. Nothing else is imported here: that would be
 * loaded before them.
 */
const WITH_THREADS = ['backup', 'restore', 'verify', 'gc']

const [command, ...rest] = process.argv.slice(2)
const withThreads = command !== undefined && WITH_THREADS.includes(command) && !rest.includes('--help')
// Of what changed there is little, most often.
const few = rest.some((argument) => argument.startsWith('--changed')) ? 1 : undefined
const started = withThreads ? prepareThreads(few) : Promise.resolve()
started
  .then(() => import('./command-line.js'))
  .then(({ runCommandLine }) => runCommandLine())
  .catch((error: unknown) => {
    // It tells all errors itself: it could not even be loaded.
    process.stderr.write(
      `everfold: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    )
    process.exitCode = 1
  })
