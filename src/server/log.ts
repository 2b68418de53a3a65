import type { Logger } from 'pino'
import { PatientLines } from './patient-lines.js'

/** Characters of lines that wait. */
const WAITING_MAX = 64 * 1024

/** What the service says of itself, on its standard error: a line of JSON each. */
export interface Logs {
  /** Synchronous: a line that was written is not lost, whatever happens next, unless nobody reads what was written before. */
  readonly log: Logger
  /**
   * For what comes thousands of times a second: lines that come together are written together, before anything that came later is looked at. With small
   * reads, a call of the system for each line took 4 % of the main thread's time.
   */
  readonly often: Logger
  readonly close: () => Promise<void>
}

export async function openLogs(level: string): Promise<Logs> {
  const { default: pino } = await import('pino')
  const out = new PatientLines((lost) => {
    const msg = `${lost} lines of the log were lost: nobody took them`
    return `${JSON.stringify({ level: pino.levels.values['warn'], time: Date.now(), msg })}\n`
  })
  let waiting = ''
  const flush = (): void => {
    const lines = waiting
    waiting = ''
    if (lines !== '') out.write(lines)
  }
  const now = (line: string): void => {
    flush()
    out.write(line)
  }
  const soon = (line: string): void => {
    if (waiting === '') setImmediate(flush)
    waiting += line
    if (waiting.length >= WAITING_MAX) flush()
  }
  process.on('exit', flush)
  return {
    log: pino({ level, base: null }, { write: now }),
    often: pino({ level, base: null }, { write: soon }),
    close: async () => {
      flush()
      process.off('exit', flush)
      await out.end()
    },
  }
}
