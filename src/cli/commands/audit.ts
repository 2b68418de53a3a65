import type { Command } from 'commander'
import { EverfoldClient } from '../../client/everfold-client.js'
import { EverfoldError } from '../../errors.js'
import type { AuditEntry, AuditPage, AuditQuery } from '../../server/audit/audit-entry.js'
import { auditFolderIn } from '../../server/audit/audit-files.js'
import { AUDIT_ENTRIES_MAX, readAudit } from '../../server/audit/read-audit.js'
import { table, time } from '../output.js'
import { parseBetween, parseMachine, parseMoment } from '../parse.js'
import { type CommonOptions, printResult } from '../run.js'
import { serviceOf, tellRetry } from '../service-options.js'

interface AuditOptions extends CommonOptions {
  readonly folder?: string
  readonly machine?: string
  readonly point?: string
  readonly token?: string
  readonly action?: string
  readonly since?: number
  readonly until?: number
  readonly limit: number
}

export function addAudit(program: Command): void {
  program
    .command('audit')
    .description('Show who did what through the service, newest first.')
    .option('--folder <folder>', "the service's audit.folder, if it is not in the repository")
    .option('--machine <machine>', 'what was done to it', parseMachine)
    .option('--point <id>', 'likewise: its whole id')
    .option('--token <token>', 'what this token did: its id or name')
    .option('--action <action>', 'such as deletePoint: the names are those of /openapi.json')
    .option('--since <date>', 'from this time, or the end of this day, on', parseMoment)
    .option('--until <date>', 'before this time, or through this day', parseMoment)
    .option('--limit <n>', 'so many at most', parseBetween(1, AUDIT_ENTRIES_MAX), 100)
    .addHelpText(
      'after',
      `
With --repo the files are read where they are, also while a service runs; with --server it is asked, which takes an admin's token.

Examples:
  everfold audit --machine web1
  everfold audit --token 'night shift' --since 2026-11-01 --limit 1000 --json`,
    )
    .action(async (options: AuditOptions) => {
      const page = await find(options)
      await printResult(options, page, () => describe(page))
    })
}

async function find(options: AuditOptions): Promise<AuditPage> {
  const { folder, machine, point, token, action, since: sinceMs, until: untilMs, limit } = options
  const query: AuditQuery = { machine, point, token, action, sinceMs, untilMs, limit }
  const service = await serviceOf(options)
  if (service === undefined) return readAudit(folder ?? folderOf(options), query)
  const iso = (ms: number | undefined): string | undefined =>
    ms === undefined ? undefined : new Date(ms).toISOString()
  const client = new EverfoldClient({ ...service, onRetry: tellRetry() })
  return client.audit({ machine, point, token, action, since: iso(sinceMs), until: iso(untilMs), limit })
}

/** The repository is not opened: a service may have it. */
function folderOf({ repo }: AuditOptions): string {
  const location = repo ?? process.env['EVERFOLD_REPO']
  if (location === undefined || location === '' || location.includes('://'))
    throw new EverfoldError(
      'ARGUMENT_INVALID',
      'Where is the audit log? Give --repo REPO, --folder FOLDER, or --server URL for a service.',
    )
  return auditFolderIn(location)
}

const KNOWN = ['time', 'action', 'request', 'token', 'tokenName', 'role', 'from', 'machine', 'point', 'disk']

async function describe({ entries, more }: AuditPage): Promise<string> {
  if (entries.length === 0) return 'Nothing.'
  const rows = entries.map((entry) => [
    time(entry.time),
    entry.tokenName ?? '–',
    entry.action,
    [entry.machine, entry.point, entry.disk].filter((part) => part !== undefined).join(' '),
    entry.code ?? (entry.status === undefined || entry.status < 400 ? 'ok' : String(entry.status)),
    restOf(entry),
  ])
  const lines = await table(['when', 'who', 'did', 'to', 'result', ''], rows, [0, 1, 2, 3, 4, 5])
  return more ? `${lines}\n\nThere are older entries: --limit, or --until.` : lines
}

function restOf(entry: AuditEntry): string {
  const rest = Object.entries(entry).filter(
    ([key]) => !KNOWN.includes(key) && !['status', 'code'].includes(key),
  )
  return rest
    .map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(' ')
}
