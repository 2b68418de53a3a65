import { readdirSync, readFileSync, statSync, unlinkSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/*
 * A file beside LevelDB's own: the index was closed in order, with these files of these sizes. LevelDB notices when a table
 * is missing, but takes a missing log for an empty one.
 */
const NAME = 'everfold-closed-cleanly'
/** LevelDB's lock and diary, which say nothing of its content. */
const NOT_CONTENT = new Set(['LOCK', 'LOG', 'LOG.old', NAME])

/** How the index was left: as it was closed, without having been closed, or changed since by somebody else. */
export type IndexLeft = 'clean' | 'unclean' | 'changed'

/** Leaves the mark: after the index was closed. */
export async function leaveCleanMark(path: string): Promise<void> {
  await writeFile(join(path, NAME), contentOf(path))
}

/**
 * Takes the mark away: before the index is opened. At once: these calls take microseconds, and each answer through the event loop may wait
 * for other work.
 */
export function takeCleanMark(path: string): IndexLeft {
  try {
    const left = readFileSync(join(path, NAME), 'utf8')
    unlinkSync(join(path, NAME))
    // One that was left before marks had content, or on a full disk.
    if (left === '') return 'unclean'
    return left === contentOf(path) ? 'clean' : 'changed'
  } catch {
    return 'unclean'
  }
}

function contentOf(path: string): string {
  const lines: string[] = []
  for (const name of readdirSync(path).sort())
    if (!NOT_CONTENT.has(name)) lines.push(`${name} ${statSync(join(path, name)).size}\n`)
  return lines.join('')
}
