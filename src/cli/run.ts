import { type Command, InvalidArgumentError } from 'commander'
import { type OpenedRepository, type OpenOptions, openRepository } from '../chain/open-repository.js'
import type { Repository } from '../chain/repository.js'
import { ERROR_CLASSES, EverfoldError, messageOf } from '../errors.js'
import type { Operations } from './operations.js'
import { showProgress } from './progress.js'
import { serviceOf, tellRetry } from './service-options.js'
import { writeTrouble } from './trouble.js'

/** Options that every command takes. */
export interface CommonOptions {
  readonly repo?: string
  readonly cache?: string
  readonly storageClass?: string
  readonly server?: string
  readonly tokenFile?: string
  readonly json?: true
}

/** Prints a command's result: one JSON document, or text for people. */
export async function printResult(
  options: CommonOptions,
  result: unknown,
  text: () => string | Promise<string>,
): Promise<void> {
  process.stdout.write(`${options.json === true ? JSON.stringify(result, undefined, 2) : await text()}\n`)
}

/**
 * Lets one command work on the repository that the options name, or through the service.
 * @throws as openRepository, and ARGUMENT_INVALID if it is not clear which
 */
export async function withOperations<T>(
  options: CommonOptions,
  command: Command,
  work: (operations: Operations) => Promise<T>,
  needs: { readonly threads?: true } = {},
): Promise<T> {
  const service = await serviceOf(options)
  // What the other way needs is not loaded: it takes time.
  if (service !== undefined) {
    const { connect } = await import('./remote-operations.js')
    return work(connect({ ...service, onRetry: tellRetry() }))
  }
  const { localOperations } = await import('./local-operations.js')
  return withRepository(options, command, (repository) => work(localOperations(repository)), needs)
}

/** Opens the repository that the options name, for one command. @throws as openRepository */
export async function withRepository<T>(
  options: CommonOptions,
  command: Command,
  work: (repository: Repository) => Promise<T>,
  needs: Partial<Pick<OpenOptions, 'threads' | 'lookAtBucket' | 'cacheFolder' | 'cacheBytes' | 's3'>> = {},
): Promise<T> {
  const location = options.repo ?? process.env['EVERFOLD_REPO']
  if (location === undefined || location === '')
    throw new EverfoldError(
      'ARGUMENT_INVALID',
      'Which repository? Give --repo REPO, or set EVERFOLD_REPO; or --server URL for a service.',
    )
  const rebuild = showProgress('rebuilding the index', options.json === true)
  let opened: OpenedRepository | undefined
  try {
    opened = await openRepository(location, {
      command: nameOf(command),
      ...needs,
      ...(options.cache !== undefined && { cacheFolder: options.cache }),
      ...(options.storageClass !== undefined && { s3: { ...needs.s3, storageClass: options.storageClass } }),
      onWarning: warn,
      onRebuild: (done, total) => {
        rebuild.update(done, total)
      },
    })
    rebuild.stop()
    return await work(opened.repository)
  } finally {
    rebuild.stop()
    await opened?.close()
  }
}

/** For what is not wrong, and may go wrong one day. */
export function warn(warning: string): void {
  process.stderr.write(`everfold: warning: ${warning}\n`)
}

/** `everfold token create` */
function nameOf(command: Command): string {
  return command.parent === null ? command.name() : `${nameOf(command.parent)} ${command.name()}`
}

/** Splits `DISK=VALUE` at the first `=`. For commander. */
export function parsePair(text: string): readonly [string, string] {
  const at = text.indexOf('=')
  if (at <= 0 || at === text.length - 1)
    throw new InvalidArgumentError('It is written DISK=PATH, such as vda=disk.raw.')
  return [text.slice(0, at), text.slice(at + 1)]
}

/** Collects a repeatable DISK=VALUE. */
export function collectPair(
  text: string,
  before: readonly (readonly [string, string])[] | undefined,
): readonly (readonly [string, string])[] {
  return [...(before ?? []), parsePair(text)]
}

/** Tells what went wrong. @returns the exit status */
export function reportError(error: unknown, json: boolean): number {
  const known = error instanceof EverfoldError ? error : undefined
  const code = known?.code ?? 'INTERNAL'
  const message = messageOf(error)
  if (json)
    process.stdout.write(
      `${JSON.stringify({ error: { code, message, details: known?.details ?? {} } }, undefined, 2)}\n`,
    )
  writeTrouble({ code, message })
  if (known === undefined && error instanceof Error && process.env['EVERFOLD_DEBUG'] !== undefined)
    process.stderr.write(`${error.stack ?? ''}\n`)
  return ERROR_CLASSES[code].exit
}
