const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * Runs `cleanUp` when the process is told to end while `work` runs; then it ends as the signal says. There is no time to wait
 * for anything, so `cleanUp` has to be done when it returns.
 */
export async function cleaningUp<T>(cleanUp: () => void, work: () => Promise<T>): Promise<T> {
  const end = (signal: NodeJS.Signals): void => {
    cleanUp()
    for (const other of SIGNALS) process.off(other, end)
    process.kill(process.pid, signal)
  }
  for (const signal of SIGNALS) process.once(signal, end)
  try {
    return await work()
  } finally {
    for (const signal of SIGNALS) process.off(signal, end)
  }
}

/** Aborts `work` when the process is told to end, waits until it has cleaned up behind itself, and ends as the signal says. */
export async function abortedBySignals<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const abort = new AbortController()
  let told: NodeJS.Signals | undefined
  const end = (signal: NodeJS.Signals): void => {
    told ??= signal
    abort.abort()
    // The next one ends the process at once.
    stopListening()
  }
  const stopListening = (): void => {
    for (const signal of SIGNALS) process.off(signal, end)
  }
  for (const signal of SIGNALS) process.on(signal, end)
  try {
    return await work(abort.signal)
  } finally {
    stopListening()
    if (told !== undefined) process.kill(process.pid, told)
  }
}
