import { type FileHandle, open, rm } from 'node:fs/promises'
import { createRoot } from '../../store/durable-folders.js'
import { realFileSystem, sync } from '../../store/file-system.js'
import type { AuditEntry } from './audit-entry.js'
import { auditFile, auditNumbers } from './audit-files.js'

/** Bytes of a file, and files, where the configuration does not say it. */
export const AUDIT_FILE_BYTES = 16 * 1024 * 1024
export const AUDIT_FILES_MAX = 64

interface AuditLogOptions {
  readonly fileBytes: number
  readonly filesMax: number
}

/** Appends entries to the audit log, durably. Those that come while the disk is at work are written together. */
export class AuditLog {
  readonly folder: string
  readonly #options: AuditLogOptions
  #number: number
  #file: FileHandle | undefined
  #bytes = 0
  /** The last write broke off: there may be a part of a line. */
  #torn = false
  #lines: string[] = []
  #next: Promise<void> | undefined
  #current: Promise<void> = Promise.resolve()

  private constructor(folder: string, options: AuditLogOptions, number: number) {
    this.folder = folder
    this.#options = options
    this.#number = number
  }

  /** @throws what the system says, if the folder cannot be made or written */
  static async open(folder: string, options: AuditLogOptions): Promise<AuditLog> {
    await createRoot(realFileSystem, folder)
    const numbers = await auditNumbers(folder)
    const log = new AuditLog(folder, options, numbers.at(-1) ?? 1)
    await log.#open()
    return log
  }

  /** Durable when it resolves. @throws what the system says: the entry is not in the log then */
  append(entry: AuditEntry): Promise<void> {
    this.#lines.push(`${JSON.stringify(entry)}\n`)
    if (this.#next === undefined) {
      const next = this.#current.then(() => {
        const lines = this.#lines
        this.#lines = []
        this.#next = undefined
        return this.#write(lines.join(''))
      })
      this.#next = next
      this.#current = next.catch(() => undefined)
    }
    return this.#next
  }

  /** Waits for what is being written. */
  async close(): Promise<void> {
    await this.#current
    await this.#file?.close()
    this.#file = undefined
  }

  async #write(text: string): Promise<void> {
    if (this.#bytes >= this.#options.fileBytes) await this.#rotate()
    if (this.#file === undefined) await this.#open()
    const bytes = Buffer.from(this.#torn ? `\n${text}` : text)
    this.#torn = true
    await this.#file?.appendFile(bytes)
    await this.#file?.datasync()
    this.#torn = false
    this.#bytes += bytes.length
  }

  async #open(): Promise<void> {
    const path = auditFile(this.folder, this.#number)
    this.#file = await open(path, 'a+', 0o600)
    const { size } = await this.#file.stat()
    if (size === 0) await sync(realFileSystem, this.folder)
    else {
      const last = await this.#file.read(Buffer.alloc(1), 0, 1, size - 1)
      this.#torn = last.buffer[0] !== 0x0a
    }
    this.#bytes = size
  }

  /** The next file; the oldest go. */
  async #rotate(): Promise<void> {
    await this.#file?.close()
    this.#file = undefined
    this.#number++
    this.#torn = false
    await this.#open()
    const numbers = await auditNumbers(this.folder)
    for (const number of numbers.slice(0, Math.max(0, numbers.length - this.#options.filesMax)))
      await rm(auditFile(this.folder, number), { force: true })
  }
}
