/** Chain states of small machines, for tests. */

import type { ChainState, DiskState, PointState } from '../src/chain/chain-state.js'
import type { RunRef } from '../src/chain/run-store.js'

export function diskState(id: string, sizeBytes: number, run: RunRef, complete: boolean): DiskState {
  return { id, sizeBytes, chunker: run.stride > 0 ? 'fixed' : 'cdc', complete, run }
}

export function pointState(
  id: string,
  disks: readonly DiskState[],
  createdAt = '2026-01-01T00:00:00.000Z',
): PointState {
  return { id, createdAt, disks, readBytes: 0, changedBytes: 0, newBytes: 0, storedBytes: 0, seconds: 0 }
}

export function chainState(machine: string, sequence: number, points: readonly PointState[]): ChainState {
  return { everfold: 'chain', format: 1, machine, sequence, points }
}
