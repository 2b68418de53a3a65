import type { SimulatedDisk } from './disk.js'
import { SimulationFailure } from './failure.js'

/** What a point holds: bytes by disk id. */
export type PointContent = ReadonlyMap<string, Buffer>

/** An operation of which it is not certain whether it had its effect, or whether that effect survives a power cut. */
export type Uncertain =
  | { readonly kind: 'backup'; readonly content: PointContent }
  /** Undefined: the operation decides by itself which points go. */
  | { readonly kind: 'removal'; readonly points: ReadonlySet<string> | undefined }

/** A machine as its owner knows it, and the points that were promised. */
export class ModelMachine {
  readonly name: string
  disks: SimulatedDisk[] = []
  /** Ids of the points that must be there, oldest first. */
  promised: string[] = []
  /** Bytes of every point whose id was ever seen. */
  readonly contents = new Map<string, PointContent>()
  readonly uncertain = new Set<Uncertain>()
  /** Points whose removal was acknowledged. */
  readonly released = new Set<string>()
  /** Points that were never seen whole, so that nobody knows which of several backups made them. */
  readonly lost = new Set<string>()
  /** A feed holds only over the point it was recorded from: no other backup may come in between. */
  feedUnderWay = false
  backupsUnderWay = 0
  /** Were there several at once? Then it is not certain which of them the newest point shows. */
  backupsOverlap = false
  /** Was anything acknowledged since this was last looked at? */
  isAcknowledged = false
  /** Points that a pin keeps, for certain. */
  readonly pinned = new Set<string>()
  /** A pin whose answer was lost may hold, too. */
  everPinned = false
  disksEver = 0
  /** May the point that the owner knows of be gone, or another one be the newest? Then a feed has no base. */
  feedMayLackBase = false

  constructor(name: string) {
    this.name = name
  }

  /** A backup was acknowledged. */
  promise(id: string, content: PointContent): void {
    this.contents.set(id, content)
    this.promised.push(id)
    this.isAcknowledged = true
  }

  /** A removal was acknowledged. */
  release(ids: readonly string[]): void {
    const gone = new Set(ids)
    this.feedMayLackBase ||= ids.length > 0
    this.isAcknowledged ||= ids.length > 0
    for (const id of ids)
      if (this.pinned.has(id)) throw new SimulationFailure(`${this.name}: pinned point ${id} was removed`)
    for (const id of ids) this.released.add(id)
    this.promised = this.promised.filter((id) => !gone.has(id))
  }

  /** Contents that an unknown point may have. */
  candidates(): PointContent[] {
    return [...this.uncertain].flatMap((one) => (one.kind === 'backup' ? [one.content] : []))
  }

  /**
   * Checks that the points which are there can be explained: what was promised, without what an uncertain removal may have
   * taken (whole or not at all), and with what an uncertain backup may have added.
   * @param isCandidate  Is this unknown point one that an uncertain backup may have made?
   */
  explain(actual: readonly string[], isCandidate: (id: string) => boolean): void {
    const there = new Set(actual)
    const removals = [...this.uncertain].filter((one) => one.kind === 'removal')
    for (const id of this.promised) {
      if (there.has(id)) continue
      const explained = removals.some(
        ({ points }) =>
          points === undefined || (points.has(id) && [...points].every((other) => !there.has(other))),
      )
      if (!explained) throw new SimulationFailure(`${this.name}: point ${id} was promised and is gone`)
    }
    for (const id of actual)
      if (!this.promised.includes(id) && !isCandidate(id))
        throw new SimulationFailure(
          `${this.name}: point ${id} is there, and nobody made it or it was removed`,
        )
    const common = this.promised.filter((id) => there.has(id))
    const order = actual.filter((id) => this.promised.includes(id))
    if (common.join() !== order.join())
      throw new SimulationFailure(
        `${this.name}: the points are in another order: ${order.join()}, not ${common.join()}`,
      )
  }

  /** The process is gone, and all that was under way. */
  stop(): void {
    this.feedUnderWay = false
    this.backupsUnderWay = 0
    this.backupsOverlap = false
    this.isAcknowledged = false
    // What was cut short may have had its effect.
    this.feedMayLackBase ||= this.uncertain.size > 0
  }

  /** What is there now is on stable storage: it is what must be there from now on. */
  settle(actual: readonly string[]): void {
    this.promised = [...actual]
    for (const id of actual) if (!this.contents.has(id)) this.lost.add(id)
    this.uncertain.clear()
  }
}
