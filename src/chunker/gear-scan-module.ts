/*
 * The inner loop of FastCdc as a WebAssembly module, some 800 bytes that are put together here: W3C, "WebAssembly Core
 * Specification" 1.0, section 5, "Binary Format".
 */

type Code = readonly number[]

const I32 = 0x7f
const NO_VALUE = 0x40

const end = [0x0b]
const leave = [0x0f]
const add = [0x6a]
const sub = [0x6b]
const and = [0x71]
const shiftLeft = [0x74]
const isZero = [0x45]
const isAtLeast = [0x4e]
const isMore = [0x4a]

const get = (local: number): Code => [0x20, local]
const set = (local: number): Code => [0x21, local]
/** -64 to 63: all that one byte takes. */
const constant = (value: number): Code => [0x41, value & 0x7f]
/** A word of the table, which begins at byte 0. */
const loadWord: Code = [0x28, 2, 0]
const loadByte = (offset: number): Code => [0x2d, 0, offset]
const block = (...code: Code[]): Code => [0x02, NO_VALUE, ...code.flat(), ...end]
const loop = (...code: Code[]): Code => [0x03, NO_VALUE, ...code.flat(), ...end]
const when = (...code: Code[]): Code => [0x04, NO_VALUE, ...code.flat(), ...end]
/** To the beginning of the loop, or the end of the block, so many levels out. */
const jump = (levels: number): Code => [0x0c, levels]
const jumpIf = (levels: number): Code => [0x0d, levels]

/* Locals: first the parameters, in the order of GearScanner.scan. */
const AT = 0
const NORMAL = 1
const END = 2
const MASK_RARE = 3
const MASK_FREQUENT = 4
const HASH = 5

/** hash = (hash << 1) + table[byte at `at` + offset]; if it meets the mask, that place is the answer. */
const step = (offset: number, mask: number): Code => [
  ...[...get(HASH), ...constant(1), ...shiftLeft],
  ...[...get(AT), ...loadByte(offset), ...constant(2), ...shiftLeft, ...loadWord],
  ...[...add, ...set(HASH)],
  ...[...get(HASH), ...get(mask), ...and, ...isZero],
  ...when(get(AT), constant(offset), add, leave),
]

const advance = (bytes: number): Code => [...get(AT), ...constant(bytes), ...add, ...set(AT)]

/** Steps in one turn of the loop: so the loop itself costs next to nothing. */
const UNROLLED = 8

/** Steps on until `limit`. */
const scanTo = (limit: number, mask: number): Code => [
  ...block(
    loop(
      [...get(AT), ...get(limit), ...constant(UNROLLED), ...sub, ...isMore, ...jumpIf(1)],
      ...Array.from({ length: UNROLLED }, (_, offset) => step(offset, mask)),
      advance(UNROLLED),
      jump(0),
    ),
  ),
  ...block(loop([...get(AT), ...get(limit), ...isAtLeast, ...jumpIf(1)], step(0, mask), advance(1), jump(0))),
]

/** An unsigned number, 7 bits a byte, lowest first. */
function unsigned(value: number): Code {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)]
}

const sized = (code: Code): Code => [...unsigned(code.length), ...code]
const section = (id: number, content: Code): Code => [id, ...sized(content)]
const text = (value: string): Code => sized(Array.from(value, (letter) => letter.charCodeAt(0)))

/** Exports `memory`, one page at first, with the table at byte 0; and `scan`, whose places are addresses in it. */
export function gearScanModule(): Uint8Array<ArrayBuffer> {
  const body = [
    ...[1, 1, I32],
    ...scanTo(NORMAL, MASK_RARE),
    ...scanTo(END, MASK_FREQUENT),
    ...[...get(END), ...end],
  ]
  return Uint8Array.of(
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 5, I32, I32, I32, I32, I32, 1, I32]),
    ...section(3, [1, 0]),
    ...section(5, [1, 0, 1]),
    ...section(7, [2, ...text('memory'), 2, 0, ...text('scan'), 0, 0]),
    ...section(10, [1, ...sized(body)]),
  )
}
