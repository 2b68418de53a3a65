/* Quantities as people write them, on the command line and in the configuration. */

const SECONDS: Readonly<Record<string, number>> = { s: 1, min: 60, h: 3600, d: 86_400, w: 604_800 }

/** `90s`, `30min`, `36h`, `2d`, `1w`. @returns seconds, or undefined where that is no duration */
export function secondsIn(text: string): number | undefined {
  const [, count, unit] = /^(\d+)\s*(s|min|h|d|w)$/i.exec(text) ?? []
  const seconds = Number(count) * (SECONDS[unit?.toLowerCase() ?? ''] ?? Number.NaN)
  return Number.isSafeInteger(seconds) ? seconds : undefined
}

const POWERS: Readonly<Record<string, number>> = { '': 0, k: 1, m: 2, g: 3, t: 4, p: 5 }

/** `4096`, `64K`, `64KiB`, `1.5GiB` (powers of 1024), `10MB` (of 1000). @returns bytes, or undefined where that is no size */
export function bytesIn(text: string): number | undefined {
  const [, count, prefix = '', suffix = ''] = /^(\d+(?:\.\d+)?)\s*([kmgtp]?)(|i?b)$/i.exec(text.trim()) ?? []
  const base = suffix.toLowerCase() === 'b' ? 1000 : 1024
  const bytes = Number(count) * base ** (POWERS[prefix.toLowerCase()] ?? Number.NaN)
  return Number.isSafeInteger(bytes) ? bytes : undefined
}
