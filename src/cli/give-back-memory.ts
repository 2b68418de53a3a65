/**
 * What of glibc's mallopt(3) is set, by the name of the variable in the environment that does the same: then it was chosen by others, and stays.
 * Left alone, each thread keeps an arena of its own, and memory that was freed is kept for what may come: under the load of many clients some 100 MiB.
 */
const SETTINGS = [
  { variable: 'MALLOC_ARENA_MAX', parameter: -8, value: 2 },
  { variable: 'MALLOC_MMAP_THRESHOLD_', parameter: -3, value: 128 * 1024 },
  { variable: 'MALLOC_TRIM_THRESHOLD_', parameter: -1, value: 1024 * 1024 },
] as const

/**
 * Has the C library give back what is freed, for a process that stays. To be called before threads are started. Where the C library is another one,
 * or koffi is not built for this machine, nothing changes.
 */
export async function giveBackMemory(): Promise<void> {
  if (process.platform !== 'linux') return
  try {
    const koffi = (await import('koffi')).default
    const mallopt = koffi.load(null).func('int mallopt(int parameter, int value)')
    for (const { variable, parameter, value } of SETTINGS)
      if (process.env[variable] === undefined) mallopt(parameter, value)
  } catch {
    // It has no such function.
  }
}
