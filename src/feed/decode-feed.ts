import assert from 'node:assert/strict'
import { isUtf8 } from 'node:buffer'

import { EverfoldError } from '../errors.js'
import { ByteExtents, ByteExtentsBuilder, normalise } from './byte-extents.js'
import { JsonCursor } from './json-cursor.js'

/**
 * Decodes a changed-block feed. It is JSON (UTF-8, with or without a byte order mark) of one of these shapes, told
 * apart by themselves:
 *
 * - a plain list, `[{"offset": bytes, "length": bytes}, …]`; other keys of an element are ignored;
 * - VMware's answer to QueryChangedDiskAreas, `{"startOffset", "length", "changedArea": [{"start", "length"}, …]}`
 *   (vSphere API, DiskChangeInfo), or an array of such answers, one per page. `start` counts from the disk's
 *   beginning. No `changedArea` means that nothing changed in that page.
 *
 * Extents may overlap, be empty, unsorted and unaligned. All pages together must reach over the whole disk: what a
 * missing page would have named is unknown, and leaving it out would lose data without a word.
 *
 * @param diskSizeBytes  Size of the disk that the feed is for.
 * @param where  Names the feed in messages, e.g. its path.
 * @returns Sorted, merged, non-empty extents within the disk.
 * @throws EverfoldError FEED_INVALID: not JSON, another shape, a number that is not a whole number of bytes below
 *         2^53, an area outside its page, or pages that leave a part of the disk out. Names the first offender.
 * @throws EverfoldError FEED_BEYOND_DISK: an extent ends beyond the disk. Gives both numbers.
 */
export function decodeFeed(bytes: Uint8Array, diskSizeBytes: number, where: string): ByteExtents {
  assert(Number.isSafeInteger(diskSizeBytes) && diskSizeBytes >= 0, 'a disk size is a whole number of bytes')
  return decodeShortList(bytes, diskSizeBytes) ?? new FeedDecoder(bytes, diskSizeBytes, where).decode()
}

/** Of longer lists the decoder below is as fast, and it takes no memory for each extent. */
const SHORT_BYTES_MAX = 256 * 1024

/**
 * Decodes a list of extents as `JSON.stringify` writes it, within the disk; undefined for everything else. A short one takes JSON.parse
 * a tenth of the time that our own code takes when it runs for the first time. What is written back to the last character has no key twice.
 */
function decodeShortList(bytes: Uint8Array, diskSizeBytes: number): ByteExtents | undefined {
  if (bytes.length > SHORT_BYTES_MAX || bytes[0] !== OPEN_BRACKET) return undefined
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
  const found = new ByteExtentsBuilder()
  try {
    const list = JSON.parse(text) as unknown[]
    if (JSON.stringify(list) !== text) return undefined
    for (const element of list) {
      const { offset, length, ...others } = element as Partial<Record<string, unknown>>
      if (!isByteCount(offset) || !isByteCount(length) || Object.keys(others).length > 0) return undefined
      if (offset + length > diskSizeBytes) return undefined
      found.add(offset, length)
    }
  } catch {
    return undefined
  }
  return normalise(found.build())
}

function isByteCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

const ELEMENT_KEYS = ['offset', 'length', 'startOffset', 'changedArea'] as const
const AREA_KEYS = ['start', 'length'] as const
/** No number in a feed is negative, so this one says that there is none. */
const ABSENT = -1
const NO_EXTENTS = ByteExtents.from([])
const OPEN_BRACKET = 0x5b
const OPEN_BRACE = 0x7b

class FeedDecoder {
  readonly #json: JsonCursor
  readonly #bytes: Uint8Array
  readonly #diskSizeBytes: number
  readonly #where: string
  readonly #found = new ByteExtentsBuilder()
  /** The part of the disk that each page speaks for; undefined while no page was seen. */
  #windows: ByteExtentsBuilder | undefined

  // The element and the area being read are fields, so that reading a million of them allocates nothing.
  /** Position in the outermost array; ABSENT where the feed is one answer. */
  #index = ABSENT
  #element = { offset: ABSENT, length: ABSENT, startOffset: ABSENT }
  #areas: ByteExtentsBuilder | undefined
  #area = { start: ABSENT, length: ABSENT }

  constructor(bytes: Uint8Array, diskSizeBytes: number, where: string) {
    this.#json = new JsonCursor(bytes, where)
    this.#bytes = bytes
    this.#diskSizeBytes = diskSizeBytes
    this.#where = where
  }

  decode(): ByteExtents {
    if (!isUtf8(this.#bytes)) this.#json.fail('is not valid JSON: it is not UTF-8 text')
    const first = this.#json.peek()
    if (first === -1) this.#json.fail('is empty; a feed without changes is written []')
    if (first === OPEN_BRACKET) {
      this.#json.array((index) => {
        this.#index = index
        this.#readElement()
      })
    } else {
      this.#readElement()
    }
    this.#json.end()
    if (this.#windows !== undefined) this.#requireWholeDisk(normalise(this.#windows.build()))
    return normalise(this.#found.build())
  }

  #readElement(): void {
    this.#requireObject(ABSENT)
    const element = this.#element
    this.#forgetElement()
    this.#json.object(ELEMENT_KEYS, this.#readElementValue)
    const isPage = element.startOffset !== ABSENT || this.#areas !== undefined
    if (isPage && element.offset !== ABSENT) this.#fail('is a list element and a page at once')
    if (!isPage && element.offset === ABSENT) this.#fail('has neither "offset" nor "startOffset"')
    if (!isPage && this.#index === ABSENT)
      this.#fail('is one extent; expected a list [{"offset", "length"}, …]')
    if (this.#index > 0 && isPage !== (this.#windows !== undefined))
      this.#fail('is of another shape than those before')
    if (element.length === ABSENT) this.#fail('has no "length"')
    if (isPage) this.#addPage()
    else this.#add(element.offset, element.length, ABSENT)
  }

  #forgetElement(): void {
    this.#element.offset = this.#element.length = this.#element.startOffset = ABSENT
    this.#areas = undefined
  }

  readonly #readElementValue = (key: number): void => {
    const element = this.#element
    if (key === 0) element.offset = this.#readBytes(element.offset, 'offset', ABSENT)
    else if (key === 1) element.length = this.#readBytes(element.length, 'length', ABSENT)
    else if (key === 2) element.startOffset = this.#readBytes(element.startOffset, 'startOffset', ABSENT)
    else if (key === 3) this.#readAreas()
    else this.#json.skip()
  }

  #readAreas(): void {
    if (this.#areas !== undefined) this.#fail('has "changedArea" twice')
    if (this.#json.peek() !== OPEN_BRACKET) {
      this.#json.skip()
      this.#fail(`has ${this.#json.excerpt()} as "changedArea"; expected a list`)
    }
    const areas = new ByteExtentsBuilder()
    this.#areas = areas
    this.#json.array((index) => {
      this.#requireObject(index)
      const area = this.#area
      area.start = area.length = ABSENT
      this.#json.object(AREA_KEYS, (key) => {
        if (key === 0) area.start = this.#readBytes(area.start, 'start', index)
        else if (key === 1) area.length = this.#readBytes(area.length, 'length', index)
        else this.#json.skip()
      })
      if (area.start === ABSENT) this.#fail('has no "start"', index)
      if (area.length === ABSENT) this.#fail('has no "length"', index)
      areas.add(area.start, area.length)
    })
  }

  #addPage(): void {
    const { startOffset, length } = this.#element
    if (startOffset === ABSENT) this.#fail('has no "startOffset"')
    this.#requireExact(startOffset, length, ABSENT)
    this.#windows ??= new ByteExtentsBuilder()
    this.#windows.add(startOffset, length)
    // Only now, because JSON does not promise that the window is named before its areas.
    const areas = this.#areas?.build() ?? NO_EXTENTS
    for (let area = 0; area < areas.count; area++) {
      this.#requireExact(areas.offset(area), areas.length(area), area)
      if (areas.offset(area) < startOffset || areas.end(area) > startOffset + length) {
        const window = `${startOffset} to ${startOffset + length}`
        this.#fail(
          `reaches from ${areas.offset(area)} to ${areas.end(area)}, out of its page (${window})`,
          area,
        )
      }
      this.#add(areas.offset(area), areas.length(area), area)
    }
  }

  #add(offset: number, length: number, area: number): void {
    this.#requireExact(offset, length, area)
    if (offset + length > this.#diskSizeBytes) {
      const { name, details } = this.#place(area)
      throw new EverfoldError(
        'FEED_BEYOND_DISK',
        `${this.#where}: ${name} ends at byte ${offset + length}, but the disk has ${this.#diskSizeBytes} bytes`,
        { details: { ...details, offset, length, diskSizeBytes: this.#diskSizeBytes } },
      )
    }
    this.#found.add(offset, length)
  }

  #requireWholeDisk(windows: ByteExtents): void {
    const covered = windows.count > 0 && windows.offset(0) === 0 ? windows.length(0) : 0
    if (covered >= this.#diskSizeBytes) return
    const next = windows.offsets.find((offset) => offset > covered) ?? this.#diskSizeBytes
    const missing = { offset: covered, length: Math.min(next, this.#diskSizeBytes) - covered }
    throw new EverfoldError(
      'FEED_INVALID',
      `${this.#where} is incomplete: no page speaks for the ${missing.length} bytes from ${covered} on ` +
        `(the disk has ${this.#diskSizeBytes}). Ask again with startOffset ${covered}, and give all answers as a list`,
      { details: { feed: this.#where, missing, diskSizeBytes: this.#diskSizeBytes } },
    )
  }

  /** Both are safe integers by themselves; their sum has to be one, too. */
  #requireExact(offset: number, length: number, area: number): void {
    if (!Number.isSafeInteger(offset + length)) this.#fail(`ends beyond 2^53 (${offset} + ${length})`, area)
  }

  #requireObject(area: number): void {
    if (this.#json.peek() === OPEN_BRACE) return
    this.#json.skip()
    this.#fail(`is ${this.#json.excerpt()}; expected an object`, area)
  }

  #readBytes(previous: number, key: string, area: number): number {
    const value = this.#json.wholeNumber()
    if (value === ABSENT) {
      this.#fail(
        `has ${this.#json.excerpt()} as "${key}"; expected a whole number of bytes from 0 to 2^53 - 1`,
        area,
      )
    }
    if (previous !== ABSENT) this.#fail(`has "${key}" twice`, area)
    return value
  }

  /** @param area  Position in the element's `changedArea`, or ABSENT: the element itself is wrong. */
  #fail(problem: string, area = ABSENT): never {
    const { name, details } = this.#place(area)
    throw new EverfoldError('FEED_INVALID', `${this.#where}: ${name} ${problem}`, { details })
  }

  #place(area: number): { name: string; details: Readonly<Record<string, unknown>> } {
    const element = this.#index === ABSENT ? '' : `element ${this.#index}`
    const within = area === ABSENT ? '' : `changedArea[${area}]`
    const name = [element, within].filter((part) => part !== '').join(', ')
    return {
      name: name === '' ? 'the feed' : name,
      details: {
        feed: this.#where,
        ...(this.#index === ABSENT ? {} : { element: this.#index }),
        ...(area === ABSENT ? {} : { area }),
      },
    }
  }
}
