/* Quantities as people write them, on the command line and in the configuration. */

const SECONDS: Readonly<Record<string, number>> = { s: 1, min: 60, h: 3600, d: 86_400, w: 604_800 }

/** `90s`, `30min`, `36h`, `2d`, `1w`. @returns seconds, or undefined where that is no duration */
export function secondsIn(text: string): number | undefined {
  const [, count, unit] = /^(\d+)\s*(s|min|h|d|w)$/i.exec(text) ?? []
  const seconds = Number(count) * (SECONDS[unit?.toLowerCase() ?? ''] ?? Number.NaN)
  return Number.isSafeInteger(seconds) ? seconds : undefined
}
