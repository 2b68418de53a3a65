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
 * Listens for the signals that end a service. From the first on, the process ends before long whatever comes: stopping takes seconds, and a
 * store that no longer answers must not keep it from ending.
 * @param giveUp  called at the deadline: it ends the process
 */
export function toldToStop(
  deadlineMs: number,
  signals: Signals = process,
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
