import * as z from 'zod'
import { bytesIn, secondsIn } from '../../quantities.js'
import { parseListen } from '../listen.js'

/* What may stand behind a key of everfold.yaml. */

/** `read` gives undefined for what it cannot read. */
function written<T>(read: (text: string) => T | undefined, message: string): z.ZodType<T, string | number> {
  return z.union([z.string(), z.number()], { error: message }).transform((value, context) => {
    const found = read(String(value))
    if (found !== undefined) return found
    context.addIssue({ code: 'custom', message })
    return z.NEVER
  })
}

/** Bytes. */
export function size(min: number, max: number = Number.MAX_SAFE_INTEGER): z.ZodType<number, string | number> {
  return written(bytesIn, 'write a size, such as 64KiB, 10MiB or 2TiB').pipe(
    z.number().min(min, `too small: ${min} bytes at least`).max(max, `too large: ${max} bytes at most`),
  )
}

/** Seconds. */
export function duration(
  min: number,
  max: number = Number.MAX_SAFE_INTEGER,
): z.ZodType<number, string | number> {
  return written(secondsIn, 'write a whole number and a unit: 90s, 30min, 36h, 2d or 1w').pipe(
    z.number().min(min, `too short: ${min} s at least`).max(max, `too long: ${max} s at most`),
  )
}

export const listenAddress = written(parseListen, 'write HOST:PORT, such as 127.0.0.1:7070 or "[::1]:7070"')

export const filePath = z.string().min(1, 'name a file or folder')

export function count(min: number, max: number): z.ZodType<number, number> {
  const message = `write a whole number from ${min} to ${max}`
  return z.int(message).min(min, message).max(max, message)
}

/** Minutes since midnight; 24:00 is the end of the day. */
export const timeOfDay = written((text) => {
  const [, hours, minutes] = /^(\d{1,2}):(\d\d)$/.exec(text) ?? []
  const at = Number(hours) * 60 + Number(minutes)
  return Number(minutes) < 60 && at <= 24 * 60 ? at : undefined
}, "write a time of the day, such as '08:30'")
