import type { ChainState, PointState } from '../chain/chain-state.js'
import type { Repository } from '../chain/repository.js'

/** A machine begins its life in another repository with the policy that it has here. */
export async function bringPolicy(to: Repository, { machine, retention }: ChainState): Promise<void> {
  if (retention !== undefined) await to.chains.edit(machine, () => ({ retention }))
}

/** What is pinned here is pinned there, for as long. What was pinned there stays pinned. */
export async function bringPins(from: Repository, to: Repository, machine: string): Promise<string[]> {
  const wanted = new Map((await from.chains.get(machine)).state.points.map(({ id, pin }) => [id, pin]))
  const differs = ({ id, pin }: PointState): boolean => {
    const ours = wanted.get(id)
    return ours !== undefined && (ours.reason !== pin?.reason || ours.until !== pin.until)
  }
  const there = await to.chains.get(machine)
  const changed = there.state.points.filter(differs).map(({ id }) => id)
  if (changed.length > 0)
    await to.chains.edit(machine, (head) => ({
      points: (head?.state.points ?? []).map((point) => {
        const pin = wanted.get(point.id)
        return pin === undefined ? point : { ...point, pin }
      }),
    }))
  return changed
}
