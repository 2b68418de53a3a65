/** A backup brought good copies of chunks that were damaged. */
export function tellHealed(chunks: number): void {
  process.stderr.write(`everfold: ${chunks} damaged chunks are whole again\n`)
}
