import { MalformedError } from '../binary.js'
import { stopIfCancelled } from '../cancellation.js'
import { decodeChainState } from '../chain/chain-state.js'
import { PackTable } from '../chain/pack-table.js'
import type { Repository } from '../chain/repository.js'
import { decodeRun } from '../chain/run-codec.js'
import { isEverfoldError } from '../errors.js'
import { openSealedJson } from '../sealed-json.js'
import {
  chainsPrefix,
  jobsPrefix,
  machinesPrefix,
  parseChainKey,
  parseJobKey,
  parseRunKey,
  quarantinePrefix,
  runsPrefix,
  settingsPrefix,
  tokensPrefix,
} from '../store/keys.js'
import { readAgainIfDamaged } from '../store/read-again.js'
import type { DamageMap } from './damage.js'

/** Prefix of keys → what is wrong with such an object, or undefined if nothing is. */
const CHECKS: readonly (readonly [string, (key: string, bytes: Uint8Array) => string | undefined])[] = [
  [chainsPrefix(), checkChainState],
  [runsPrefix(), checkRun],
  [machinesPrefix, checkNumbered],
  [settingsPrefix, checkNumbered],
  [quarantinePrefix, checkNumbered],
  [tokensPrefix, checkNumbered],
  [jobsPrefix, checkJob],
]

/**
 * Checks what no point depends on (superseded chain states, runs that a killed backup left, small records), so that a flipped
 * bit is found wherever it is. What `damage` knows of already is passed over. @throws STORE_FAILED, CANCELLED
 */
export async function verifyRest(
  repository: Repository,
  damage: DamageMap,
  signal?: AbortSignal,
): Promise<void> {
  const { store } = repository
  for (const [prefix, check] of CHECKS)
    for await (const { key } of store.list(prefix)) {
      if (damage.has(key)) continue
      stopIfCancelled(signal)
      try {
        const problem = await readAgainIfDamaged(
          async () => check(key, await store.readAll(key)),
          (found) => found === undefined,
        )
        if (problem !== undefined) damage.note(key, problem)
      } catch (error) {
        // A fold or a collection may have removed it meanwhile.
        if (!isEverfoldError(error, 'OBJECT_NOT_FOUND')) throw error
      }
    }
}

function checkChainState(key: string, bytes: Uint8Array): string | undefined {
  const named = parseChainKey(key)
  if (named === undefined) return 'it is no object of ours'
  const state = decodeChainState(bytes)
  return state?.machine === named.machine && state.sequence === named.sequence
    ? undefined
    : 'this chain state is damaged; a newer one serves'
}

function checkRun(key: string, bytes: Uint8Array): string | undefined {
  const named = parseRunKey(key)
  if (named === undefined) return 'it is no object of ours'
  try {
    decodeRun(bytes, named.id, new PackTable())
    return undefined
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error
    return `this run, which no point needs, is damaged: ${error.message}`
  }
}

/** All of these are numbered, and say their own number. */
function checkNumbered(key: string, bytes: Uint8Array): string | undefined {
  const number = Number(key.slice(key.lastIndexOf('/') + 1))
  return openSealedJson(bytes)?.['number'] === number ? undefined : 'it is damaged'
}

function checkJob(key: string, bytes: Uint8Array): string | undefined {
  const named = parseJobKey(key)
  const record = openSealedJson(bytes)
  const isWhole = named !== undefined && record?.['number'] === named.number && record['step'] === named.step
  return isWhole ? undefined : 'this record of a job is damaged'
}
