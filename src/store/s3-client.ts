/*
 * The AWS SDK, loaded only when a bucket is named: it takes a few hundred milliseconds that a repository in a folder
 * need not pay. Its own retries are off: they cannot know what a conditional write whose answer was lost has done.
 */

import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import type * as S3 from '@aws-sdk/client-s3'
import type { S3ClientConfig } from '@aws-sdk/client-s3'
import { EverfoldError } from '../errors.js'
import { REQUESTS_IN_FLIGHT_MAX, type S3Settings } from './s3-settings.js'

export type S3Sdk = typeof S3

export interface S3Connection {
  readonly sdk: S3Sdk
  readonly client: S3.S3Client
}

const DEFAULT_PROFILE = 'default'

const silent = { debug: ignore, info: ignore, warn: ignore, error: ignore }

function ignore(): void {
  // On purpose.
}

/**
 * Makes a client. Sends nothing yet.
 * @param overrides  for tests
 * @throws ARGUMENT_INVALID if no region is set anywhere
 */
export async function connectS3(settings: S3Settings, overrides: S3ClientConfig = {}): Promise<S3Connection> {
  // The version is pinned: what versions to come will want is for us to know, not for every command to print.
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true'
  const sdk = await import('@aws-sdk/client-s3')
  // The SDK takes the name of the file from nowhere else.
  if (settings.credentialsFile !== undefined)
    process.env['AWS_SHARED_CREDENTIALS_FILE'] = settings.credentialsFile
  const { endpoint, profile = settings.credentialsFile && DEFAULT_PROFILE } = settings
  const agent = { keepAlive: true, maxSockets: REQUESTS_IN_FLIGHT_MAX * 2 }
  const config: S3ClientConfig = {
    ...(endpoint !== undefined && { endpoint }),
    ...(settings.region !== undefined && { region: settings.region }),
    ...(profile !== undefined && { profile }),
    ...(settings.pathStyle === undefined ? {} : { forcePathStyle: settings.pathStyle }),
    maxAttempts: 1,
    // Content-MD5 goes with every write: every service checks it, while many do not know the newer checksums.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // Its warnings would go to standard error, and could show parts of requests.
    logger: silent,
    requestHandler: {
      connectionTimeout: settings.idleMs,
      socketTimeout: settings.idleMs,
      httpAgent: new HttpAgent(agent),
      httpsAgent: new HttpsAgent(agent),
    },
    ...overrides,
  }
  const client = new sdk.S3Client(config)
  if (await hasRegion(client)) return { sdk, client }
  client.destroy()
  const region = regionElsewhere(endpoint)
  if (region !== undefined) return { sdk, client: new sdk.S3Client({ ...config, region }) }
  throw new EverfoldError(
    'ARGUMENT_INVALID',
    'Which region is the bucket in? Set AWS_REGION, or region in ~/.aws/config. For a service of your own, set AWS_ENDPOINT_URL_S3 too.',
  )
}

async function hasRegion(client: S3.S3Client): Promise<boolean> {
  return client.config.region().then(
    () => true,
    () => false,
  )
}

/** Services other than Amazon's mostly have no regions, but requests are signed for one all the same. */
function regionElsewhere(endpoint: string | undefined): string | undefined {
  const { AWS_DEFAULT_REGION, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL } = process.env
  return AWS_DEFAULT_REGION || (endpoint || AWS_ENDPOINT_URL_S3 || AWS_ENDPOINT_URL ? 'us-east-1' : undefined)
}
