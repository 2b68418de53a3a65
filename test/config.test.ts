/** everfold.yaml: what it may say, what is said of mistakes in it, and that the service does as it says. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import * as z from 'zod'
import { isEverfoldError } from '../src/errors.js'
import { parseConfig } from '../src/server/config/read-config.js'
import { serviceConfigSchema } from '../src/server/config/service-config.js'
import { KIB, noise } from './disk-bytes.js'
import { Served } from './server-process.js'
import { Workspace } from './workspace.js'

const root = join(import.meta.dirname, '..')
const page = readFileSync(join(root, 'docs/operations.md'), 'utf8')
const [, chapter = ''] = page.split('\n### Configuration\n')
const section = chapter.split(/\n##+ /)[0] ?? ''
const [, example = ''] = /```yaml\n(.*?)```/s.exec(section) ?? []

/** `limits.requests`, `machines[].quota`: all keys that hold values. */
function keysOf(schema: Schema, path = ''): string[] {
  const { properties, items, anyOf } = schema
  if (properties !== undefined)
    return Object.entries(properties).flatMap(([key, inner]) =>
      keysOf(inner, path === '' ? key : `${path}.${key}`),
    )
  if (items?.properties !== undefined) return keysOf(items, `${path}[]`)
  const objects = anyOf?.filter((one) => one.properties !== undefined) ?? []
  return objects.length > 0 ? objects.flatMap((one) => keysOf(one, path)) : [path]
}

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
}

/** Likewise, of a value. */
function keysUsed(value: unknown, path = ''): string[] {
  if (Array.isArray(value) && value.some((item) => typeof item === 'object'))
    return value.flatMap((item) => keysUsed(item, `${path}[]`))
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [path]
  return Object.entries(value).flatMap(([key, inner]) =>
    keysUsed(inner, path === '' ? key : `${path}.${key}`),
  )
}

const ALL = keysOf(z.toJSONSchema(serviceConfigSchema, { io: 'input' }) as Schema).sort()

function complaint(text: string): { message: string; line: unknown; key: unknown } {
  try {
    parseConfig(text, 'everfold.yaml')
  } catch (error) {
    if (!isEverfoldError(error, 'CONFIG_INVALID')) throw error
    return { message: error.message, line: error.details['line'], key: error.details['key'] }
  }
  return expect.fail(`no complaint about: ${text}`)
}

describe('the page on the configuration', () => {
  it('has a row for each key, and none besides', () => {
    const rows = [...section.matchAll(/^\| `([^`]+)` \|/gm)].map((row) => row[1])
    expect(rows.sort()).toEqual(ALL)
  })

  it('has an example with all of them that is valid', () => {
    parseConfig(example, 'the example')
    expect([...new Set(keysUsed(parse(example)))].sort()).toEqual(ALL)
  })
})

describe('a mistake in the configuration', () => {
  it.each([
    ['listen: nowhere', 1, 'listen', 'HOST:PORT'],
    ['\n\nlog:\n  levels: info', 4, 'log.levels', 'no such key'],
    ['port: 7070', 1, 'port', 'no such key'],
    ['machines:\n  - match: web1\n    expectedInterval: soon', 3, 'machines[0].expectedInterval', '36h'],
    ['machines:\n  - expectedInterval: 1h', 2, 'machines[0].match', 'missing'],
    ['machines:\n  match: web1', 1, 'machines', 'array'],
    ['tls:\n  certificate: a.pem', 1, 'tls.key', 'missing'],
    ['log: {level: loud}', 1, 'log.level', '"info"'],
    ['- 1', 1, undefined, 'object'],
  ])('is told with its line and key: %j', (text, line, key, words) => {
    const told = complaint(text)
    expect(told).toMatchObject({ line, key })
    expect(told.message).toContain(words)
    expect(told.message).toMatch(new RegExp(`^everfold\\.yaml, line ${line}`))
  })

  it.each([
    'listen: [',
    'listen: 127.0.0.1:1\nlisten: 127.0.0.1:2',
    'machines: [{match: *}]',
    'log: !!js/function x',
    'a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]',
  ])('of YAML itself is one, too: %j', (text) => {
    expect(complaint(text).message).toContain('line')
  })

  it('is none where the file says nothing', () => {
    expect(parseConfig('', 'x')).toEqual({})
    expect(parseConfig('# nothing\n', 'x')).toEqual({})
  })
})

describe('everfold serve --config', () => {
  it('does as it says, with paths relative to it; options on the command line win', async () => {
    const at = await Workspace.make()
    await at.write('disk', noise('disk', 100 * KIB))
    await at.ok('backup', 'web1', 'vda=disk')
    await at.write(
      'everfold.yaml',
      'repository: repo\nlisten: 127.0.0.1:1\nlog: {level: error}\nmachines:\n  - {match: web*, expectedInterval: 1h}\n  - {match: db9, expectedInterval: 2d}\n',
    )
    const nowhere = { ...at.options, env: { EVERFOLD_REPO: '/nonexistent' } }
    const service = await Served.start({ options: nowhere }, '--config', 'everfold.yaml')
    const token = service.adminToken ?? ''
    const { machines } = await service.ok('/v1/reports/protection', token)
    expect(machines).toMatchObject([
      { machine: 'web1', expectedIntervalSeconds: 3600, expectedFrom: 'configuration', state: 'on time' },
      { machine: 'db9', points: 0, newestAt: null, expectedIntervalSeconds: 172_800, state: 'never' },
    ])
    const metrics = await (await service.fetch('/metrics', token)).text()
    expect(metrics).toContain('everfold_expected_interval_seconds{machine="db9"} 172800')
    expect(service.requests).toEqual([])
    expect(await service.stop()).toBe(0)
    await at.fails('REPOSITORY_NOT_FOUND', 'serve', '--config', 'everfold.yaml', '--repo', 'elsewhere')
    await at.remove()
  })

  it('does not start with mistakes in it, or without it', async () => {
    const at = await Workspace.make()
    await at.write('wrong.yaml', 'listen: 127.0.0.1:0\nlimit: 3\n')
    const { message, details } = await at.fails('CONFIG_INVALID', 'serve', '--config', 'wrong.yaml')
    expect(message).toContain('wrong.yaml, line 2, limit: there is no such key')
    expect(details).toEqual({ file: 'wrong.yaml', line: 2, key: 'limit' })
    await at.fails('CONFIG_INVALID', 'serve', '--config', 'missing.yaml')
    await at.remove()
  })
})
