/** Part of a disk that a client asks for, in bytes. */
export interface WantedRange {
  readonly offset: number
  readonly length: number
}

/**
 * What a Range header asks for (RFC 9110, section 14).
 * @returns undefined if the header is to be ignored, as the RFC has it: no header, another unit, not well-formed, or several
 *          ranges; `unsatisfiable` if none of the disk is in it
 */
export function parseRange(
  header: string | undefined,
  sizeBytes: number,
): WantedRange | 'unsatisfiable' | undefined {
  const [, first, last] = /^bytes=[ \t]*(\d*)-(\d*)[ \t]*$/i.exec(header ?? '') ?? []
  if (first === undefined || last === undefined || (first === '' && last === '')) return undefined
  if (first === '') {
    const length = Math.min(Number(last), sizeBytes)
    return length === 0 ? 'unsatisfiable' : { offset: sizeBytes - length, length }
  }
  const offset = Number(first)
  if (last !== '' && Number(last) < offset) return undefined
  if (offset >= sizeBytes) return 'unsatisfiable'
  const end = last === '' ? sizeBytes : Math.min(sizeBytes, Number(last) + 1)
  return { offset, length: end - offset }
}

/** Is an entity tag among those of an If-None-Match header? Compared weakly, as RFC 9110 has it. */
export function tagMatches(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false
  return header.split(',').some((part) => part.trim() === '*' || part.trim().replace(/^W\//, '') === etag)
}

/** Does If-Range let the Range header hold? Only for just this tag, or just this time. */
export function rangeHolds(header: string | undefined, etag: string, lastModified: string): boolean {
  return header === undefined || header === etag || header === lastModified
}
