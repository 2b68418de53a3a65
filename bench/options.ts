/** A number above 0. @throws Error that names the option */
export function positive(name: string, text: string): number {
  const value = Number(text)
  if (Number.isFinite(value) && value > 0) return value
  throw new Error(`--${name} takes a number above 0, not "${text}"`)
}

/** A whole number above 0. @throws Error that names the option */
export function wholePositive(name: string, text: string): number {
  const value = positive(name, text)
  if (Number.isInteger(value)) return value
  throw new Error(`--${name} takes a whole number, not "${text}"`)
}

/** Numbers above 0, separated by commas. @throws Error that names the option */
export function positiveList(name: string, text: string): number[] {
  return text.split(',').map((part) => wholePositive(name, part))
}
