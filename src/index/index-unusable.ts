/**
 * The index on disk is damaged, half removed, or of another schema. Nothing is lost: destroy it
 * (`destroyIndex`) and rebuild it from the store. Not a code of its own, because nobody outside meets it.
 */
export class IndexUnusable extends Error {
  /** Folder of the index. */
  readonly path: string

  constructor(path: string, reason: string, cause?: unknown) {
    super(`The index in ${path} must be rebuilt: ${reason}`, cause === undefined ? undefined : { cause })
    this.name = 'IndexUnusable'
    this.path = path
  }
}
