import { readFile, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { type Document, isMap, isNode, isSeq, LineCounter, parseDocument } from 'yaml'
import type * as z from 'zod'
import { EverfoldError, messageOf } from '../../errors.js'
import { type S3Config, type ServiceConfig, serviceConfigSchema } from './service-config.js'

/** Bytes of a configuration. */
export const CONFIG_BYTES_MAX = 1024 * 1024
const ALIASES_MAX = 100

/** Reads a configuration; paths in it are relative to its own folder. @throws CONFIG_INVALID naming line and key */
export async function readConfig(path: string): Promise<ServiceConfig> {
  const config = parseConfig(await textOf(path), path)
  const absolute = (file: string): string => resolve(dirname(resolve(path)), file)
  const { repository, tls, audit, s3 } = config
  return {
    ...config,
    // A bucket has an address instead of a path.
    ...(repository !== undefined && {
      repository: /^[a-z][a-z0-9+.-]+:\/\//i.test(repository) ? repository : absolute(repository),
    }),
    ...(s3 && { s3: withPaths(s3, absolute) }),
    ...(audit?.folder !== undefined && { audit: { ...audit, folder: absolute(audit.folder) } }),
    ...(tls && { tls: { certificate: absolute(tls.certificate), key: absolute(tls.key) } }),
  }
}

function withPaths(s3: S3Config, absolute: (file: string) => string): S3Config {
  const { credentialsFile, cache } = s3
  return {
    ...s3,
    ...(credentialsFile !== undefined && { credentialsFile: absolute(credentialsFile) }),
    ...(cache !== undefined && { cache: absolute(cache) }),
  }
}

async function textOf(path: string): Promise<string> {
  try {
    const { size } = await stat(path)
    if (size > CONFIG_BYTES_MAX) throw new Error(`it has more than ${CONFIG_BYTES_MAX} bytes`)
    return await readFile(path, 'utf8')
  } catch (error) {
    throw new EverfoldError('CONFIG_INVALID', `Cannot read the configuration ${path}: ${messageOf(error)}`, {
      cause: error,
      details: { file: path },
    })
  }
}

/** @param path  for messages. @throws CONFIG_INVALID */
export function parseConfig(text: string, path: string): ServiceConfig {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const [broken] = [...document.errors, ...document.warnings]
  if (broken !== undefined) throw invalid(path, lines.linePos(broken.pos[0]).line, '', broken.message)
  const result = serviceConfigSchema.safeParse(valueOf(document, path), { reportInput: true })
  if (result.success) return result.data
  const [issue] = result.error.issues
  if (issue === undefined) throw new Error('zod refuses without a reason')
  const unknown = issue.code === 'unrecognized_keys' ? issue.keys[0] : undefined
  const place = unknown === undefined ? issue.path : [...issue.path, unknown]
  const message = unknown === undefined ? messageFor(issue) : 'there is no such key'
  throw invalid(path, lines.linePos(offsetOf(document, place)).line, keyText(place), message)
}

function messageFor(issue: z.core.$ZodIssue): string {
  return issue.code === 'invalid_type' && issue.input === undefined ? 'this is missing' : issue.message
}

/** An empty file says nothing, and that is fine. */
function valueOf(document: Document, path: string): unknown {
  try {
    return document.toJS({ maxAliasCount: ALIASES_MAX }) ?? {}
  } catch (error) {
    throw invalid(path, 1, '', messageOf(error))
  }
}

/** Where in the text a key stands, or what should have it. */
function offsetOf(document: Document, place: readonly PropertyKey[]): number {
  let node: unknown = document.contents
  let offset = 0
  for (const key of place) {
    if (isMap(node)) {
      const pair = node.items.find((item) => String(item.key) === String(key))
      if (pair === undefined) break
      if (isNode(pair.key)) offset = pair.key.range?.[0] ?? offset
      node = pair.value
    } else if (isSeq(node)) {
      node = node.items[Number(key)]
      if (isNode(node)) offset = node.range?.[0] ?? offset
    } else break
  }
  return offset
}

/** `machines[2].match`, counted from 0 as programs do. */
function keyText(place: readonly PropertyKey[]): string {
  return place
    .map((key, i) => (typeof key === 'number' ? `[${key}]` : `${i === 0 ? '' : '.'}${String(key)}`))
    .join('')
}

function invalid(path: string, line: number, key: string, message: string): EverfoldError {
  return new EverfoldError(
    'CONFIG_INVALID',
    `${path}, line ${line}${key === '' ? '' : `, ${key}`}: ${message}. All keys are in docs/operations.md.`,
    { details: { file: path, line, ...(key === '' ? {} : { key }) } },
  )
}
