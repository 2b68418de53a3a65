import type { PointState } from '../chain/chain-state.js'
import type { Repository } from '../chain/repository.js'
import { isEverfoldError } from '../errors.js'
import { coversMachine } from './roles.js'
import type { TokenInfo } from './token-book.js'

/** A machine of a token, as far as it can be read. */
export interface MachineOverview {
  readonly machine: string
  /** Oldest first. */
  readonly points: readonly PointState[]
  readonly damage: 'none' | 'newest state' | 'whole chain'
}

/** The machines that a token is for and that have points, or had before they were damaged. @throws STORE_FAILED */
export async function machinesOf(
  repository: Repository,
  token: TokenInfo | undefined,
): Promise<MachineOverview[]> {
  const machines: MachineOverview[] = []
  for (const machine of await repository.chains.allMachines()) {
    if (!coversMachine(token?.machines ?? [], machine)) continue
    const found = await overview(repository, machine)
    if (found.points.length > 0 || found.damage !== 'none') machines.push(found)
  }
  return machines
}

async function overview(repository: Repository, machine: string): Promise<MachineOverview> {
  try {
    const head = await repository.chains.find(machine)
    if (head === undefined) return { machine, points: [], damage: 'none' }
    return {
      machine,
      points: head.state.points,
      damage: head.damaged.length > 0 ? 'newest state' : 'none',
    }
  } catch (error) {
    // The other machines are listed all the same.
    if (!isEverfoldError(error, 'CHAIN_DAMAGED')) throw error
    return { machine, points: [], damage: 'whole chain' }
  }
}

/** Of a point's disks, as plain images. */
export function sizeOf(point: PointState | undefined): number {
  return point?.disks.reduce((sum, disk) => sum + disk.sizeBytes, 0) ?? 0
}
