import type { DeleteMarkerEntry } from '@aws-sdk/client-s3'
import type { S3Store } from './s3-store.js'

/** One of the states that a key of a bucket had: what was written, or the mark of a removal. */
export interface KeyVersion {
  /** What the service calls it. */
  readonly id: string
  readonly modifiedMs: number
  readonly isRemoval: boolean
  readonly sizeBytes: number
}

export interface KeyHistory {
  /** As the store names it: without the prefix. */
  readonly key: string
  /** Newest first. */
  readonly versions: readonly KeyVersion[]
}

interface Entry extends KeyVersion {
  readonly key: string
  readonly isLatest: boolean
}

/**
 * All keys below a prefix with what the bucket keeps of each, in order of keys.
 * @param after  only keys after this one
 * @throws PERMISSION_MISSING (s3:ListBucketVersions), STORE_FAILED
 */
export async function* listHistories(
  store: S3Store,
  prefix = '',
  after?: string,
): AsyncGenerator<KeyHistory, void, undefined> {
  let rest: Entry[] = []
  for await (const page of pages(store, prefix, after)) {
    rest.push(...page)
    const keys = [...new Set(rest.map(({ key }) => key))].sort()
    // Of the last key, more may follow on the next page.
    const last = keys.pop()
    yield* histories(keys, rest)
    rest = rest.filter(({ key }) => key === last)
  }
  yield* histories([...new Set(rest.map(({ key }) => key))], rest)
}

function* histories(keys: readonly string[], entries: readonly Entry[]): Generator<KeyHistory> {
  const byKey = new Map<string, Entry[]>(keys.map((key) => [key, []]))
  for (const entry of entries) byKey.get(entry.key)?.push(entry)
  for (const [key, versions] of byKey) yield { key, versions: inOrderOfTime(versions) }
}

/**
 * The service lists writes and removals newest first, but apart: they are put together by their times. Some services tell whole seconds:
 * what was removed within the second in which it was written was written first.
 */
function inOrderOfTime(entries: readonly Entry[]): Entry[] {
  const written = entries.filter(({ isRemoval }) => !isRemoval)
  const removals = entries.filter(({ isRemoval }) => isRemoval)
  const ordered: Entry[] = []
  for (const removal of removals) {
    while (written[0] !== undefined && (written[0].isLatest || written[0].modifiedMs > removal.modifiedMs))
      ordered.push(...written.splice(0, 1))
    ordered.push(removal)
  }
  return [...ordered, ...written]
}

async function* pages(
  store: S3Store,
  prefix: string,
  after: string | undefined,
): AsyncGenerator<Entry[], void, undefined> {
  const { client, sdk } = store.connection
  const root = store.place.prefix
  let keyMarker = after === undefined ? undefined : root + after
  let idMarker: string | undefined
  for (;;) {
    const from = { KeyMarker: keyMarker, VersionIdMarker: idMarker }
    const page = await store.requests.run({
      kind: 'list',
      what: 'list versions (which takes s3:ListBucketVersions)',
      send: (abortSignal) =>
        client.send(
          new sdk.ListObjectVersionsCommand({ Bucket: store.place.bucket, Prefix: root + prefix, ...from }),
          { abortSignal },
        ),
    })
    const entries: Entry[] = []
    for (const { Size: sizeBytes = 0, ...version } of page.Versions ?? [])
      entries.push({ ...entryOf(version, root), isRemoval: false, sizeBytes })
    for (const removal of page.DeleteMarkers ?? [])
      entries.push({ ...entryOf(removal, root), isRemoval: true, sizeBytes: 0 })
    yield entries
    if (page.IsTruncated !== true) return
    keyMarker = page.NextKeyMarker
    idMarker = page.NextVersionIdMarker
  }
}

function entryOf(
  { Key = '', VersionId, LastModified, IsLatest }: DeleteMarkerEntry,
  root: string,
): Omit<Entry, 'isRemoval' | 'sizeBytes'> {
  return {
    key: Key.slice(root.length),
    // What was there before the bucket kept versions.
    id: VersionId ?? 'null',
    modifiedMs: LastModified?.getTime() ?? 0,
    isLatest: IsLatest === true,
  }
}

/**
 * What belongs under a key that is not removed: objects are never written over, so of writes without a removal between them only the first
 * was ours.
 * @param versions  newest first; the first of them is no removal
 */
export function rightVersion(versions: readonly KeyVersion[]): KeyVersion | undefined {
  const removal = versions.findIndex(({ isRemoval }) => isRemoval)
  return versions.at((removal < 0 ? versions.length : removal) - 1)
}
