import { createReadStream } from 'node:fs'
import { systemErrorCode } from '../../errors.js'
import { type AuditEntry, type AuditPage, type AuditQuery, auditEntrySchema } from './audit-entry.js'
import { auditFile, auditNumbers } from './audit-files.js'

/** Entries that are given at once. */
export const AUDIT_ENTRIES_MAX = 10_000

/** The newest entries that a query wants. What is no line of ours, such as one that a crash cut short, is passed over. */
export async function readAudit(folder: string, query: AuditQuery): Promise<AuditPage> {
  const entries: AuditEntry[] = []
  for (const number of (await auditNumbers(folder)).reverse()) {
    const left = query.limit + 1 - entries.length
    if (left <= 0) break
    entries.push(...(await newestIn(auditFile(folder, number), query, left)))
  }
  return { entries: entries.slice(0, query.limit), more: entries.length > query.limit }
}

/** Newest first. */
async function newestIn(path: string, query: AuditQuery, limit: number): Promise<AuditEntry[]> {
  const found: AuditEntry[] = []
  try {
    for await (const line of linesOf(path)) {
      const entry = entryIn(line)
      if (entry === undefined || !isWanted(entry, query)) continue
      found.push(entry)
      // Seldom, so that a long file is not moved about for each of its lines.
      if (found.length >= 2 * limit) found.splice(0, found.length - limit)
    }
  } catch (error) {
    // It went meanwhile: the oldest do.
    if (systemErrorCode(error) !== 'ENOENT') throw error
  }
  return found.slice(-limit).reverse()
}

/** Of whole lines; one that is being written is none yet. */
async function* linesOf(path: string): AsyncGenerator<string, void, undefined> {
  let rest = ''
  for await (const text of createReadStream(path, 'utf8') as AsyncIterable<string>) {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
}

function entryIn(line: string): AuditEntry | undefined {
  try {
    return auditEntrySchema.safeParse(JSON.parse(line)).data
  } catch {
    return undefined
  }
}

function isWanted(entry: AuditEntry, query: AuditQuery): boolean {
  const { machine, point, token, action, sinceMs, untilMs } = query
  if (machine !== undefined && entry.machine !== machine) return false
  if (point !== undefined && entry.point !== point && !removed(entry).includes(point)) return false
  if (token !== undefined && entry.token !== token && entry.tokenName !== token) return false
  if (action !== undefined && entry.action !== action) return false
  if (sinceMs === undefined && untilMs === undefined) return true
  const atMs = Date.parse(entry.time)
  return atMs >= (sinceMs ?? -Infinity) && atMs < (untilMs ?? Infinity)
}

/** Points that went, of one machine or, in a job, of several. */
function removed(entry: AuditEntry): unknown[] {
  const points = entry['removed']
  if (Array.isArray(points)) return points
  return typeof points === 'object' && points !== null ? Object.values(points).flat() : []
}
