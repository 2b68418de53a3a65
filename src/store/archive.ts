import { EverfoldError } from '../errors.js'

/** How fast archived objects are brought back, and at what price. */
export const RECALL_TIERS = ['bulk', 'standard', 'expedited'] as const
export type RecallTier = (typeof RECALL_TIERS)[number]

export interface RecallRequest {
  /** How long the recalled copy stays readable. */
  readonly days: number
  readonly tier: RecallTier
}

/** What a bucket can do with objects whose storage class has to be recalled from before they can be read. */
export interface Archive {
  /**
   * Asks for an object to be made readable. That takes minutes to days.
   * @returns 'asked'; 'under way' if somebody has asked before
   * @throws PERMISSION_MISSING (s3:RestoreObject), STORE_FAILED if the service knows no recall
   */
  recall(key: string, request: RecallRequest): Promise<'asked' | 'under way'>
}

export function objectArchived(key: string, location: string): EverfoldError {
  return new EverfoldError(
    'OBJECT_ARCHIVED',
    `${key} of ${location} is archived: it has to be recalled before it can be read. To restore a point: everfold restore … --recall DAYS`,
    { details: { location, key } },
  )
}
