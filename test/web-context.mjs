/**
 * Runs the client as a browser does: ECMAScript modules without a bundler, in a realm that has what the web gives and nothing of
 * Node.js: no `process`, no `Buffer`, no `require`, and any import of a module of Node.js fails.
 *
 * node --experimental-vm-modules test/web-context.mjs ENTRY ARGUMENT < SCENARIO
 * The scenario is a module that imports from 'everfold/client' and exports `default async (argument) => result`; the result is
 * printed as JSON, with the list of all modules that were loaded.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, resolve } from 'node:path'
import { createContext, runInContext, SourceTextModule, SyntheticModule } from 'node:vm'

const [, , entry = '', argument = ''] = process.argv
const require = createRequire(import.meta.url)

/** What browsers have besides ECMAScript itself, as far as Node.js has it too. */
const WEB = [
  ...[
    'AbortController',
    'AbortSignal',
    'Blob',
    'Event',
    'EventTarget',
    'Headers',
    'Request',
    'Response',
    'URL',
  ],
  ...['URLSearchParams', 'TextDecoder', 'TextEncoder', 'ReadableStream', 'WritableStream', 'TransformStream'],
  ...['fetch', 'crypto', 'performance', 'queueMicrotask', 'structuredClone', 'setTimeout', 'clearTimeout'],
  ...['setInterval', 'clearInterval', 'console'],
  // What is passed to fetch has to be of the realm that fetch is of: in a browser there is but one.
  ...['ArrayBuffer', 'Uint8Array', 'Uint32Array', 'Int32Array', 'Float64Array', 'DataView'],
]

const context = createContext(Object.fromEntries(WEB.map((name) => [name, globalThis[name]])))
// A page has it only if it is isolated from all other origins.
runInContext('delete globalThis.SharedArrayBuffer', context)
const modules = new Map()

function load(path) {
  const known = modules.get(path)
  if (known !== undefined) return known
  const module = new SourceTextModule(readFileSync(path, 'utf8'), { context, identifier: path })
  modules.set(path, module)
  return module
}

/** A CommonJS module, as bundlers and CDNs turn it into one that browsers take. */
function loadCommon(specifier) {
  const path = require.resolve(specifier)
  const known = modules.get(path)
  if (known !== undefined) return known
  const module = { exports: {} }
  runInContext(`(function (module, exports) {${readFileSync(path, 'utf8')}\n})`, context)(
    module,
    module.exports,
  )
  const made = new SyntheticModule(
    ['default'],
    function () {
      this.setExport('default', module.exports)
    },
    { context, identifier: path },
  )
  modules.set(path, made)
  return made
}

function link(specifier, from) {
  if (specifier === 'everfold/client') return load(entry)
  if (specifier.startsWith('.')) return load(resolve(dirname(from.identifier), specifier))
  if (specifier === 'fast-sha256') return loadCommon(specifier)
  throw new Error(`${from.identifier} imports "${specifier}", which no browser has`)
}

const scenario = new SourceTextModule(readFileSync(0, 'utf8'), {
  context,
  identifier: resolve('scenario.js'),
})
await scenario.link(link)
await scenario.evaluate()
const result = await scenario.namespace.default(argument)
console.log(JSON.stringify({ result, modules: [...modules.keys()] }))
