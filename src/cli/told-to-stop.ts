/** Stopping takes seconds; a store that no longer answers must not keep the process from ending. */
export const STOP_DEADLINE_MS = 45_000

export interface ToldToStop {
  /** The first signal has come. */
  readonly first: Promise<void>
  /** Calls `hurry` at each signal after it. */
  again(hurry: () => void): void
}

/** Whoever hears of signals: the process. */
export interface Signals {
  on(signal: 'SIGTERM' | 'SIGINT', listener: () => void): unknown
}

/**
 * Listens for the signals that end a service. From the first on, the process ends before long whatever comes.
 * @param giveUp  called at the deadline: it ends the process
 */
export function toldToStop(
  signals: Signals = process,
  deadlineMs = STOP_DEADLINE_MS,
  giveUp: (deadlineMs: number) => void = endAllTheSame,
): ToldToStop {
  let count = 0
  let hurry: (() => void) | undefined
  const first = new Promise<void>((resolve) => {
    const onSignal = (): void => {
      if (++count > 1) hurry?.()
      else {
        setTimeout(() => giveUp(deadlineMs), deadlineMs).unref()
        resolve()
      }
    }
    for (const signal of ['SIGTERM', 'SIGINT'] as const) signals.on(signal, onSignal)
  })
  return {
    first,
    again(callback) {
      hurry = callback
      if (count > 1) callback()
    },
  }
}

function endAllTheSame(deadlineMs: number): void {
  process.stderr.write(
    `everfold: not stopped after ${deadlineMs / 1000} seconds: the store does not answer. It ends all the same; what was acknowledged is safe, and what is open goes on after the next start.\n`,
  )
  process.exit(1)
}
