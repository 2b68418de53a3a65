import type { Trouble } from './operations.js'

/** One line on standard error. */
export function writeTrouble({ code, message }: Trouble, before = ''): void {
  process.stderr.write(`everfold: ${before}${message} [${code}]\n`)
}
