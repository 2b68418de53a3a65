import prettyBytes from 'pretty-bytes'

/** `1.5 GiB`. */
export function bytes(count: number): string {
  // Options for digits would load the tables of all languages: 12 ms of every command.
  return count < 1024 ? `${Math.round(count)} B` : prettyBytes(count, { binary: true })
}

/** `1 pack`, `2 packs`. */
export function counted(count: number, one: string): string {
  return `${count} ${one}${count === 1 ? '' : 's'}`
}

/** `3.2 : 1`, or a dash. */
export function ratio(value: number | null): string {
  return value === null || !Number.isFinite(value) ? '–' : `${value.toFixed(2)} : 1`
}

/** Local time, to the second. */
export function time(iso: string): string {
  const date = new Date(iso)
  const two = (value: number): string => String(value).padStart(2, '0')
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
}

/** Columns without lines, numbers to the right. */
export async function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  left: readonly number[] = [0],
): Promise<string> {
  const { default: Table } = await import('cli-table3')
  const none = {
    top: '',
    'top-mid': '',
    'top-left': '',
    'top-right': '',
    bottom: '',
    'bottom-mid': '',
    'bottom-left': '',
  }
  const lines = {
    'bottom-right': '',
    left: '',
    'left-mid': '',
    mid: '',
    'mid-mid': '',
    right: '',
    'right-mid': '',
    middle: '  ',
  }
  const out = new Table({
    head: [...head],
    chars: { ...none, ...lines },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
    colAligns: head.map((_, i) => (left.includes(i) ? 'left' : 'right')),
  })
  for (const row of rows) out.push([...row])
  return out.toString()
}
