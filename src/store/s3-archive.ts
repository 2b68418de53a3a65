import type { Tier } from '@aws-sdk/client-s3'
import type { Archive, RecallRequest, RecallTier } from './archive.js'
import { sdkErrorOf } from './s3-errors.js'
import type { S3Store } from './s3-store.js'

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GlacierJobParameters.html */
const TIERS: Readonly<Record<RecallTier, Tier>> = {
  bulk: 'Bulk',
  standard: 'Standard',
  expedited: 'Expedited',
}

export class S3Archive implements Archive {
  readonly #store: S3Store

  constructor(store: S3Store) {
    this.#store = store
  }

  async recall(key: string, { days, tier }: RecallRequest): Promise<'asked' | 'under way'> {
    const { client, sdk } = this.#store.connection
    const RestoreRequest = { Days: days, GlacierJobParameters: { Tier: TIERS[tier] } }
    return this.#store.requests.run({
      kind: 'other',
      what: `recall ${key} (which takes s3:RestoreObject)`,
      send: async (abortSignal) => {
        try {
          await client.send(new sdk.RestoreObjectCommand({ ...this.#store.named(key), RestoreRequest }), {
            abortSignal,
          })
          return 'asked'
        } catch (error) {
          if (sdkErrorOf(error).name === 'RestoreAlreadyInProgress') return 'under way'
          throw error
        }
      },
    })
  }
}
