import { EverfoldError } from '../errors.js'

/** What people may say otherwise than by the environment. What is absent is looked for there. */
export interface S3Options {
  readonly endpoint?: string | undefined
  readonly region?: string | undefined
  readonly pathStyle?: boolean | undefined
  /** Of the credentials file: then the environment's credentials do not count. */
  readonly profile?: string | undefined
  /** In the form of ~/.aws/credentials. */
  readonly credentialsFile?: string | undefined
  readonly storageClass?: string | undefined
  readonly requestSeconds?: number | undefined
  readonly giveUpSeconds?: number | undefined
}

/** How long we wait for a bucket, and how hard we push. What is absent of the first is the SDK's own business. */
export interface S3Settings extends Pick<S3Options, 'endpoint' | 'region' | 'profile' | 'credentialsFile'> {
  /** A connection that does not come about, and a transfer in which nothing moves, end after this. */
  readonly idleMs: number
  /** A request ends after this, and a second for each {@link SLOWEST_BYTES_PER_SECOND} that it carries. */
  readonly requestMs: number
  /** Failing requests are repeated until this has passed since the first one. */
  readonly giveUpMs: number
  /** The same while a repository is being opened: who mistyped an endpoint wants to know soon. */
  readonly giveUpOpeningMs: number
  readonly pathStyle: boolean | undefined
  /** Of packs; everything else stays in the service's standard class. */
  readonly storageClass: string | undefined
}

/** A line slower than this is as good as dead. */
export const SLOWEST_BYTES_PER_SECOND = 64 * 1024
/** A request ends after this at the latest if it must not come late, see s3-lease.ts. */
export const CHANGE_MS_MAX = 45_000
/** Requests under way at once. */
export const REQUESTS_IN_FLIGHT_MAX = 32
/** Objects larger than this are sent in parts. S3 wants parts of at least 5 MiB. */
export const SINGLE_PUT_BYTES_MAX = 32 * 1024 * 1024
export const PART_BYTES = 16 * 1024 * 1024
/** Parts of one object that are sent at once. */
export const PARTS_IN_FLIGHT = 4

/** @throws ARGUMENT_INVALID */
export function s3SettingsFrom(environment: NodeJS.ProcessEnv, options: S3Options = {}): S3Settings {
  const seconds = (given: number | undefined, name: string, fallback: number): number => {
    const text = given === undefined ? environment[name] : String(given)
    if (text === undefined || text === '') return fallback * 1000
    const value = Number(text)
    if (Number.isFinite(value) && value > 0 && value <= 86_400) return value * 1000
    throw new EverfoldError('ARGUMENT_INVALID', `${name} is "${text}". Give seconds, such as ${fallback}.`)
  }
  const giveUpMs = seconds(options.giveUpSeconds, 'EVERFOLD_S3_GIVE_UP_SECONDS', 300)
  const requestMs = seconds(options.requestSeconds, 'EVERFOLD_S3_REQUEST_SECONDS', 30)
  const { endpoint, region, profile, credentialsFile } = options
  return {
    endpoint,
    region,
    profile,
    credentialsFile,
    idleMs: Math.min(requestMs, 15_000),
    requestMs,
    giveUpMs,
    giveUpOpeningMs: Math.min(giveUpMs, 30_000),
    pathStyle: options.pathStyle ?? pathStyleFrom(environment, endpoint),
    storageClass: options.storageClass ?? (environment['EVERFOLD_S3_STORAGE_CLASS'] || undefined),
  }
}

export function endpointFrom(environment: NodeJS.ProcessEnv): string | undefined {
  return environment['AWS_ENDPOINT_URL_S3'] || environment['AWS_ENDPOINT_URL'] || undefined
}

function pathStyleFrom(environment: NodeJS.ProcessEnv, given: string | undefined): boolean | undefined {
  const text = environment['EVERFOLD_S3_PATH_STYLE']
  if (text !== undefined && text !== '') return text === '1' || text === 'true'
  const endpoint = given ?? endpointFrom(environment)
  if (endpoint === undefined || !URL.canParse(endpoint)) return undefined
  const { hostname } = new URL(endpoint)
  // No name below an address, or below localhost, leads anywhere.
  return /^[\d.]+$|^\[|^localhost$|\.localhost$/u.test(hostname) ? true : undefined
}
