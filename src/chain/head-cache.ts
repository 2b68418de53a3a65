import type { ChainHead } from './chains.js'

/** Points of the chain states that are kept in memory: some 0.85 KB each, so 210 MB. A run that was folded into one counts as much. */
export const CACHED_POINTS_MAX = 250_000

/** Heads of the machines that were asked for last. The newest one is kept, however long it is. */
export class HeadCache {
  /** Longest not asked for first. */
  readonly #heads = new Map<string, ChainHead>()
  readonly #pointsMax: number
  #points = 0

  constructor(pointsMax = CACHED_POINTS_MAX) {
    this.#pointsMax = pointsMax
  }

  get(machine: string): ChainHead | undefined {
    const head = this.#heads.get(machine)
    if (head === undefined) return undefined
    this.#heads.delete(machine)
    this.#heads.set(machine, head)
    return head
  }

  set(machine: string, head: ChainHead): void {
    this.delete(machine)
    this.#heads.set(machine, head)
    this.#points += weightOf(head)
    for (const oldest of this.#heads.keys()) {
      if (this.#points <= this.#pointsMax || oldest === machine) return
      this.delete(oldest)
    }
  }

  delete(machine: string): void {
    const head = this.#heads.get(machine)
    if (head === undefined) return
    this.#points -= weightOf(head)
    this.#heads.delete(machine)
  }
}

/** In points: a machine without any takes memory, too. */
function weightOf({ state }: ChainHead): number {
  let weight = 1 + state.points.length
  for (const { disks } of state.points) for (const { folded } of disks) weight += folded?.length ?? 0
  return weight
}
