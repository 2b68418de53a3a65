import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Repository } from '../../chain/repository.js'
import { EverfoldError, messageOf } from '../../errors.js'
import type { ServiceConfig } from '../config/service-config.js'
import { auditFolderIn } from './audit-files.js'
import { AUDIT_FILE_BYTES, AUDIT_FILES_MAX, AuditLog } from './audit-log.js'

/** The audit log of a service: beside the objects of a repository in a folder, or where the configuration says. @throws CONFIG_INVALID */
export async function openAudit(repository: Repository, { audit = {} }: ServiceConfig): Promise<AuditLog> {
  const folder = audit.folder ?? usualFolder(repository)
  try {
    return await AuditLog.open(folder, {
      fileBytes: audit.fileSize ?? AUDIT_FILE_BYTES,
      filesMax: audit.files ?? AUDIT_FILES_MAX,
    })
  } catch (error) {
    throw new EverfoldError(
      'CONFIG_INVALID',
      `The audit log cannot be written in ${folder}: ${messageOf(error)}. Name another folder as audit.folder in the configuration.`,
      { cause: error, details: { folder } },
    )
  }
}

/** A bucket holds no files that grow: then it is among what this user's programs remember (the XDG Base Directory Specification). */
function usualFolder({ store, config }: Repository): string {
  if (!store.location.includes('://')) return auditFolderIn(store.location)
  const state =
    process.env['STATE_DIRECTORY'] ?? process.env['XDG_STATE_HOME'] ?? join(homedir(), '.local/state')
  return join(state, 'everfold', config.id, 'audit')
}
