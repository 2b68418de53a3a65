import { ExtentList } from './extent-list.js'

/**
 * Overlays `newer` on `older`: where both cover a byte, `newer` wins.
 *
 * @param older, newer  Extents of one disk with the same stride and pack table.
 * @param olderEnd      Bytes of `older` from here on are left out: they lay beyond the end of a disk that shrank.
 * @returns Neighbours that continue the same chunks are joined. At most `older.length + 2 * newer.length` extents:
 *          one newer extent splits at most one older extent in two.
 */
export function overlay(older: ExtentList, newer: ExtentList, olderEnd = Infinity): ExtentList {
  assertCompatible(older, newer)
  const out = new ExtentList(older.stride, older.packs, older.length + newer.length)
  let position = 0
  let o = 0
  for (let n = 0; n <= newer.length; n++) {
    const limit = Math.min(newer.startOf(n), olderEnd)
    while (older.startOf(o) < limit) {
      const whole = o
      if (older.startOf(o) >= position) while (o < older.length && older.endOf(o) <= limit) o++
      out.appendAll(older, whole, o)
      if (o > whole) continue
      const start = Math.max(older.startOf(o), position)
      const end = Math.min(older.endOf(o), limit)
      if (start < end) out.appendPart(older, o, start, end)
      if (older.endOf(o) > limit) break
      o++
    }
    if (n < newer.length) {
      out.appendPart(newer, n, newer.startOf(n), newer.endOf(n))
      position = newer.endOf(n)
    }
  }
  return out
}

/** One run on the way from the oldest to the newest: its extents, and the size of the disk at its point. */
export interface Layer {
  readonly extents: ExtentList
  readonly sizeBytes: number
}

/**
 * Overlays many runs, oldest first, pairwise like a tournament: k runs of n extents cost n·log k, not n·k; a run that has more than all others,
 * n and the others' share.
 *
 * @returns the extents and the smallest size that the disk had since the first of the layers (what an older run holds
 *          beyond it is gone, even if the disk grew again).
 */
export function overlayAll(layers: readonly Layer[]): ExtentList {
  const first = layers[0]
  if (first === undefined) throw new RangeError('nothing to overlay')
  return fold(layers, 0, layers.length).extents
}

interface Folded {
  readonly extents: ExtentList
  readonly smallest: number
}

function fold(layers: readonly Layer[], from: number, to: number): Folded {
  if (to - from === 1) {
    const layer = layers[from]
    if (layer === undefined) throw new RangeError('no such layer')
    return { extents: layer.extents, smallest: layer.sizeBytes }
  }
  const middle = middleOf(layers, from, to)
  const older = fold(layers, from, middle)
  const newer = fold(layers, middle, to)
  return {
    extents: overlay(older.extents, newer.extents, newer.smallest),
    smallest: Math.min(older.smallest, newer.smallest),
  }
}

/** Where both halves have about the same number of extents: so a large run is written once, and not again with each round. */
function middleOf(layers: readonly Layer[], from: number, to: number): number {
  // Empty runs count too: else many of them would be taken one by one.
  const weightOf = (i: number): number => 1 + (layers[i]?.extents.length ?? 0)
  let rest = 0
  for (let i = from; i < to; i++) rest += weightOf(i)
  let taken = 0
  for (let i = from; i < to - 1; i++) {
    taken += weightOf(i)
    rest -= weightOf(i)
    if (taken + weightOf(i + 1) > rest) return i + 1
  }
  return to - 1
}

function assertCompatible(a: ExtentList, b: ExtentList): void {
  if (a.stride !== b.stride || a.packs !== b.packs) throw new TypeError('extent lists of different disks')
}
