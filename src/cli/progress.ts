import type { SingleBar } from 'cli-progress'
import { bytes } from './output.js'

/** Shows how far long work is: a bar on a terminal, else a plain line now and then; nothing with `--json`. */
export interface ProgressView {
  update(done: number, total: number): void
  stop(): void
}

const PLAIN_LINE_EVERY_MS = 5000
const SILENT: ProgressView = { update: () => undefined, stop: () => undefined }

/**
 * Writes to standard error, so that standard output holds results alone.
 * @param amount  says how much: bytes, unless the work is counted otherwise
 */
export function showProgress(
  what: string,
  json: boolean,
  amount: (count: number) => string = bytes,
): ProgressView {
  if (json) return SILENT
  return process.stderr.isTTY ? bar(what, amount) : lines(what, amount)
}

function bar(what: string, amount: (count: number) => string): ProgressView {
  const started = performance.now()
  let view: SingleBar | undefined
  let latest = { done: 0, total: 0 }
  let stopped = false
  const show = (): void => {
    const { done, total } = latest
    const rate = amount(Math.round(done / Math.max(0.001, (performance.now() - started) / 1000)))
    const payload = { done: amount(done), all: amount(total), rate }
    if (view?.isActive === true) view.update(done, payload)
    else view?.start(total, done, payload)
  }
  // Loaded only where it is shown; what comes meanwhile is shown then.
  import('cli-progress').then(
    ({ default: { SingleBar, Presets } }) => {
      view = new SingleBar(
        {
          stream: process.stderr,
          clearOnComplete: true,
          hideCursor: true,
          etaBuffer: 50,
          format: `${what} {bar} {percentage}% | {done} of {all} | {rate}/s | {eta_formatted} left`,
        },
        Presets.shades_classic,
      )
      if (!stopped && latest.total > 0) show()
    },
    () => undefined,
  )
  return {
    update: (done, total) => {
      latest = { done, total }
      show()
    },
    stop: () => {
      stopped = true
      view?.stop()
    },
  }
}

function lines(what: string, amount: (count: number) => string): ProgressView {
  const started = performance.now()
  let last = started
  return {
    update: (done, total) => {
      const now = performance.now()
      if (now - last < PLAIN_LINE_EVERY_MS || total === 0) return
      last = now
      const rate = done / ((now - started) / 1000)
      const left = rate > 0 ? `, ${Math.ceil((total - done) / rate)} s left` : ''
      process.stderr.write(
        `${what}: ${Math.floor((100 * done) / total)}% of ${amount(total)}, ${amount(Math.round(rate))}/s${left}\n`,
      )
    },
    stop: () => undefined,
  }
}
