import * as z from 'zod'
import { EverfoldError } from '../errors.js'
import { checkName } from '../names.js'
import { secondsIn } from '../quantities.js'

/** Option values that several commands take. For commander; what is thrown comes out with its own code. */

/** A machine's name, in its normal form. @throws NAME_INVALID */
export function parseMachine(text: string): string {
  return checkName('machine', text)
}

/** A whole number from 0 on. @throws ARGUMENT_INVALID */
export function parseWhole(text: string): number {
  const value = Number(text)
  if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value
  throw new EverfoldError('ARGUMENT_INVALID', `"${text}" is not a whole number from 0 on.`)
}

/** A whole number from 1 on. @throws ARGUMENT_INVALID */
export function parseCount(text: string): number {
  const value = Number(text)
  if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= 1) return value
  throw new EverfoldError('ARGUMENT_INVALID', `"${text}" is not a whole number from 1 on.`)
}

/** A whole number within limits. For commander. */
export function parseBetween(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (/^\d+$/.test(text) && value >= min && value <= max) return value
    throw new EverfoldError('ARGUMENT_INVALID', `"${text}" is not a whole number from ${min} to ${max}.`)
  }
}

/** A duration such as `2d`. @returns seconds @throws ARGUMENT_INVALID */
export function parseDuration(text: string): number {
  const seconds = secondsIn(text)
  if (seconds !== undefined) return seconds
  throw new EverfoldError(
    'ARGUMENT_INVALID',
    `"${text}" is no duration. Write a whole number and a unit: 90s, 30min, 36h, 2d or 1w.`,
  )
}

/** A percentage such as `40%`. @returns 0 to 1 @throws ARGUMENT_INVALID */
export function parseShare(text: string): number {
  const percent = Number(/^(\d+(?:\.\d+)?)\s*%?$/.exec(text)?.[1])
  if (percent <= 100) return percent / 100
  throw new EverfoldError(
    'ARGUMENT_INVALID',
    `"${text}" is no share. Write one from 0% to 100%, such as 40%.`,
  )
}

/**
 * A moment: ISO 8601, without a zone in local time; or a day, which means its end, so that what lasts until then lasts
 * through it. @returns milliseconds since 1970, UTC @throws ARGUMENT_INVALID
 */
export function parseMoment(text: string): number {
  if (z.iso.date().safeParse(text).success) {
    const [year = 0, month = 0, day = 0] = text.split('-').map(Number)
    return new Date(year, month - 1, day + 1).getTime()
  }
  if (z.iso.datetime({ offset: true, local: true }).safeParse(text).success) return Date.parse(text)
  throw new EverfoldError(
    'ARGUMENT_INVALID',
    `"${text}" is no time. Write a day such as 2026-12-31, or a time such as 2026-12-31T18:00:00Z.`,
  )
}

/** A storage class of the bucket's service. @throws ARGUMENT_INVALID */
export function parseStorageClass(text: string): string {
  if (/^[A-Z0-9_-]{1,64}$/u.test(text)) return text
  throw new EverfoldError('ARGUMENT_INVALID', `"${text}" is no storage class. Write one such as STANDARD_IA.`)
}
