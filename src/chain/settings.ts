import * as z from 'zod'
import { EverfoldError, isEverfoldError } from '../errors.js'
import { openSealedJson, sealJson } from '../sealed-json.js'
import { parseSettingsKey, settingsKey, settingsPrefix } from '../store/keys.js'
import { readAgainIfDamaged } from '../store/read-again.js'
import type { StoreReader, StoreWriter } from '../store/store.js'
import { type RetentionPolicy, retentionPolicySchema } from './chain-state.js'

/*
 * settings/<number>, format 1: sealed JSON (see sealed-json.ts). What holds for the whole repository and may change. Each change
 * is a new object, numbered without gaps from 0; the highest undamaged one holds.
 */

export const SETTINGS_FORMAT_VERSION = 1

const settingsObject = z
  .strictObject({
    everfold: z.literal('settings'),
    format: z.literal(SETTINGS_FORMAT_VERSION),
    number: z.number().int().min(0),
    /** For machines that have no policy of their own. */
    retention: retentionPolicySchema.optional(),
  })
  .readonly()

/** What people may set for the whole repository. Everything is absent until it is set. */
export interface Settings {
  readonly retention?: RetentionPolicy
}

export interface FoundSettings {
  readonly settings: Settings
  /** Numbers above the one that serves whose objects are damaged: what was set last is not known then. */
  readonly damaged: readonly number[]
  /** The number that the next settings have to take. */
  readonly next: number
}

/**
 * Reads the settings that hold. A listing may be short, so it is only where the search begins: from the highest number
 * listed upwards, one after the other, until there is none; then down to the first undamaged one.
 * @throws STORE_FAILED
 */
export async function readSettings(store: StoreReader): Promise<FoundSettings> {
  let next = 0
  for await (const { key } of store.list(settingsPrefix)) next = Math.max(next, parseSettingsKey(key) ?? 0)
  while ((await store.size(settingsKey(next))) !== undefined) next++
  const damaged: number[] = []
  for (let number = next - 1; number >= 0; number--) {
    const settings = await readOne(store, number)
    if (settings !== undefined) return { settings, damaged, next }
    damaged.push(number)
  }
  return { settings: {}, damaged, next }
}

/**
 * Makes these the settings that hold, durably.
 * @param next  as {@link readSettings} told, so that a change that came in between is not lost
 * @throws CONFLICT if another writer was faster; STORE_FULL, STORE_FAILED
 */
export async function writeSettings(store: StoreWriter, next: number, settings: Settings): Promise<void> {
  const { retention } = settings
  const encoded = sealJson({
    everfold: 'settings',
    format: SETTINGS_FORMAT_VERSION,
    number: next,
    ...(retention === undefined ? {} : { retention }),
  })
  if (decode(encoded, next) === undefined) throw new Error('settings did not decode')
  if ((await store.put(settingsKey(next), [encoded])) === 'created') return
  throw new EverfoldError(
    'CONFLICT',
    'Another writer changed the settings at the same time; nothing was changed. Try again.',
    { details: { number: next } },
  )
}

/** One that is missing below the highest is as good as damaged. */
async function readOne(store: StoreReader, number: number): Promise<Settings | undefined> {
  try {
    return await readAgainIfDamaged(
      async () => decode(await store.readAll(settingsKey(number)), number),
      (settings) => settings !== undefined,
    )
  } catch (error) {
    if (isEverfoldError(error, 'OBJECT_NOT_FOUND')) return undefined
    throw error
  }
}

function decode(bytes: Uint8Array, number: number): Settings | undefined {
  const parsed = settingsObject.safeParse(openSealedJson(bytes))
  if (!parsed.success || parsed.data.number !== number) return undefined
  const { retention } = parsed.data
  return retention === undefined ? {} : { retention }
}
