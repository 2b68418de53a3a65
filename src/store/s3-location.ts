import { EverfoldError } from '../errors.js'
import { isKey, KEY_BYTES_MAX } from './keys.js'

/** Where in which bucket a repository lies. */
export interface S3Location {
  readonly bucket: string
  /** Empty, or ends in `/`. */
  readonly prefix: string
}

const SCHEME = /^[a-z][a-z0-9+.-]+:\/\//iu
/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html; other services also take upper case and `_`. */
const BUCKET = /^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$/u
/** S3 takes keys of 1024 bytes; ours need the rest. */
const PREFIX_BYTES_MAX = 1024 - KEY_BYTES_MAX - 1

/**
 * Takes `s3://bucket/prefix` apart.
 * @returns undefined for a folder's path
 * @throws ARGUMENT_INVALID for any other URL
 */
export function parseS3Location(location: string): S3Location | undefined {
  if (!SCHEME.test(location)) return undefined
  const [, bucket = '', path = ''] = /^s3:\/\/([^/]*)(?:\/(.*))?$/iu.exec(location) ?? []
  const prefix = path.replace(/\/+$/u, '')
  const problem = BUCKET.test(bucket) ? complaintAbout(prefix) : 'names no bucket'
  if (problem === undefined) return { bucket, prefix: prefix === '' ? '' : `${prefix}/` }
  // A URL may have a password in it: of that, nothing is shown.
  const shown = location.includes('@') ? 'This location' : `"${location}"`
  throw new EverfoldError(
    'ARGUMENT_INVALID',
    `${shown} ${problem}. Name a folder, or a bucket as s3://BUCKET or s3://BUCKET/PREFIX.`,
  )
}

function complaintAbout(prefix: string): string | undefined {
  if (prefix === '') return undefined
  if (prefix.length > PREFIX_BYTES_MAX) return `has a prefix of more than ${PREFIX_BYTES_MAX} characters`
  // A prefix such as `index/` is no trouble: it is not a folder of ours.
  return isKey(`x/${prefix}`) ? undefined : 'has a prefix that is not plain ASCII, or has empty or dot parts'
}

/** For people: never with credentials, which are not part of it. */
export function locationName({ bucket, prefix }: S3Location): string {
  return `s3://${bucket}${prefix === '' ? '' : `/${prefix.slice(0, -1)}`}`
}
