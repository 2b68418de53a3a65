/** What a token may do. Who may call which route is in access.ts. */
export const ROLES = ['backup', 'restore', 'report', 'operator', 'admin'] as const

export type Role = (typeof ROLES)[number]

/** Does one of the patterns mean this machine? `*` stands for any characters; everything else for itself. */
export function coversMachine(patterns: readonly string[], machine: string): boolean {
  return patterns.some((pattern) => matches(pattern, machine))
}

/** Are they for all machines there are, and will be? */
export function coversAll(patterns: readonly string[]): boolean {
  return patterns.includes('*')
}

/** Linear in both lengths for any pattern: a regular expression could be made to take for ever. */
function matches(pattern: string, text: string): boolean {
  const [first = '', ...rest] = pattern.split('*')
  if (!text.startsWith(first)) return false
  if (rest.length === 0) return text === first
  const last = rest.pop() ?? ''
  let at = first.length
  for (const part of rest) {
    const found = text.indexOf(part, at)
    if (found < 0) return false
    at = found + part.length
  }
  return text.length - last.length >= at && text.endsWith(last)
}
