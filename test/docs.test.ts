import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ERROR_CLASSES } from '../src/errors.js'
import { ROUTES } from '../src/server/routes.js'

/* Documents say what the code says: tables are compared with it, and links lead somewhere. */

const root = join(import.meta.dirname, '..')
const documents = [
  'README.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'bench/README.md',
  ...inFolder('docs', '.md'),
]

function inFolder(folder: string, suffix: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(suffix))
    .map((name) => join(folder, name))
}

function read(path: string): string {
  return readFileSync(join(root, path), 'utf8')
}

/** The lines of a document from a heading to the next one of its level. */
function section(path: string, heading: string): string {
  const [, rest] = read(path).split(`\n${heading}\n`)
  if (rest === undefined) throw new Error(`${path} has no section "${heading}"`)
  return rest.split(`\n${heading.split(' ')[0] ?? ''} `)[0] ?? ''
}

/** What is set in backticks in a column of the tables of a text. */
function codesIn(text: string, column: number): string[] {
  const cells = text.split('\n').map((line) => line.split('|')[column + 1] ?? '')
  return cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? ''))
}

/** As GitHub makes them of headings. */
function anchorsOf(markdown: string): string[] {
  const headings = [...markdown.matchAll(/^#+ (.+)$/gm)].map((match) => match[1] ?? '')
  return headings.map((text) =>
    text
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

describe('docs/operations.md', () => {
  const errors = section('docs/operations.md', '## Exit statuses and error codes')

  it('has a row for each error code, with its exit status, and none besides', () => {
    const rows = [...errors.matchAll(/^\| `([A-Z_]+)` \| (\d) \|/gm)].map((row) => [row[1], Number(row[2])])
    const codes = Object.entries(ERROR_CLASSES).map(([code, { exit }]) => [code, exit])
    expect(new Map(rows as [string, number][])).toEqual(new Map(codes as [string, number][]))
  })

  it('has a row for each exit status', () => {
    const rows = [...errors.matchAll(/^\| (\d) \| /gm)].map((row) => Number(row[1]))
    expect(rows).toEqual([...new Set([0, ...Object.values(ERROR_CLASSES).map(({ exit }) => exit)])].sort())
  })
})

describe('docs/design.md', () => {
  it('names tests that exist', () => {
    const tests = ['src', 'test', 'bench']
      .flatMap((folder) => inFolder(folder, '.ts'))
      .map(read)
      .join('\n')
    const named = codesIn(section('docs/design.md', '## Invariants'), 2)
    expect(named.length).toBeGreaterThan(5)
    expect(named.filter((name) => !tests.includes(name))).toEqual([])
  })

  it('names limits that exist', () => {
    const source = inFolder('src', '.ts').map(read).join('\n')
    const named = codesIn(section('docs/design.md', '## Limits'), 0)
    expect(named.length).toBeGreaterThan(10)
    expect(named.filter((name) => !source.includes(`const ${name} =`))).toEqual([])
  })
})

describe('docs/api.md', () => {
  it('lists every route of the service, and none besides', () => {
    const routes = [...section('docs/api.md', '## Routes').matchAll(/^\| `([A-Z]+ \S+)` \|/gm)]
    const known = ROUTES.map(({ method, path }) => `${method.toUpperCase()} ${path}`)
    expect(routes.map((row) => row[1]).sort()).toEqual(known.sort())
  })

  it('names limits that exist', () => {
    const source = inFolder('src', '.ts').map(read).join('\n')
    const named = codesIn(section('docs/api.md', '## Limits'), 0)
    expect(named.length).toBeGreaterThan(10)
    expect(named.filter((name) => !source.includes(`const ${name} =`))).toEqual([])
  })
})

describe('the links of a document', () => {
  it.each(documents)('lead somewhere: %s', (path) => {
    for (const [, target = ''] of read(path).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      const [file = '', anchor] = target.split('#')
      const resolved = file === '' ? path : join(dirname(path), file)
      expect(existsSync(join(root, resolved)), `${target} in ${path}`).toBe(true)
      if (anchor !== undefined) expect(anchorsOf(read(resolved)), `${target} in ${path}`).toContain(anchor)
    }
  })
})
