// Bundles the command: one file to load instead of some 350, and V8's cache of its code beside it (src/cli/start.ts). `npm run build` runs it.
// Modules stay apart where they have native code (which is found by the path of their files) or start threads from a file of theirs.
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmod, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { build } from 'esbuild'

/** LevelDB's native code is found by the path of the file that loads it. */
const nativeBinding = {
  name: 'native-binding',
  setup({ onResolve }) {
    onResolve({ filter: /^\.\/binding$/ }, ({ importer }) =>
      /classic-level[^/]*\/[^/]+$/.test(importer)
        ? { path: 'classic-level/binding.js', external: true }
        : undefined,
    )
  },
}

/** Large packages that few commands load: a file each. */
const APART = ['express', 'pino', 'prom-client', 'cli-table3', 'cli-progress', 'yaml']
const apart = {
  name: 'apart',
  setup({ onResolve }) {
    onResolve({ filter: new RegExp(`^(?:${APART.join('|')})$`) }, ({ kind, path }) =>
      kind === 'entry-point' ? undefined : { path: `./${path}.cjs`, external: true },
    )
  },
}

/** Made aside, and put in place when it is whole: commands run, and services start threads, while the next build is being made. */
const place = new URL('../dist/bin/', import.meta.url)
const out = new URL('../dist/bin-new/', import.meta.url)
const before = new URL('../dist/bin-old/', import.meta.url)
await rm(out, { recursive: true, force: true })
await mkdir(out, { recursive: true })
// `everfold.js` among them.
await writeFile(new URL('package.json', out), '{ "type": "commonjs" }\n')

/**
 * CommonJS: it can be run from V8's cache, and a thread that is ended while it loads an ES module aborts the whole process in Node 20
 * ("v8::Module::IsGraphAsync must be used on an instantiated module").
 * @type {import('esbuild').BuildOptions}
 */
const common = {
  absWorkingDir: fileURLToPath(new URL('..', import.meta.url)),
  outdir: 'dist/bin-new',
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node20.15',
  external: ['zstd-napi', 'koffi', '@aws-sdk/client-s3', '@napi-rs/nice'],
  // What is imported when it is needed is required as well.
  supported: { 'dynamic-import': false },
  outExtension: { '.js': '.cjs' },
  minifySyntax: true,
  minifyWhitespace: true,

  legalComments: 'none',
  sourcemap: true,
  sourcesContent: false,
  logLevel: 'warning',
}

await build({ ...common, entryPoints: APART.map((name) => ({ in: name, out: name })) })
await build({
  ...common,
  entryPoints: [{ in: 'src/pack/worker.ts', out: 'worker' }],
  external: [...common.external, 'piscina'],
})
// Piscina starts its threads from a file of its own, beside where it lies: in the bundle, that is here.
await writeFile(
  new URL('worker.js', out),
  "require(require('node:path').join(require.resolve('piscina'), '../worker.js'))\n",
)

const program = fileURLToPath(new URL(await bundleProgram(), out))
await promisify(execFile)(process.execPath, [
  fileURLToPath(new URL('code-cache.js', import.meta.url)),
  program,
])
await build({
  ...common,
  entryPoints: [{ in: 'src/cli/start.ts', out: 'everfold' }],
  outExtension: {},
  define: {
    PROGRAM: JSON.stringify(basename(program)),
    CACHE_SHA256: JSON.stringify(sha256(await readFile(`${program}.cache`))),
    'import.meta.dirname': '__dirname',
  },
})
await chmod(new URL('everfold.js', out), 0o755)

await rm(before, { recursive: true, force: true })
await rename(place, before).catch((error) => {
  if (error.code !== 'ENOENT') throw error
})
await rename(out, place)
await rm(before, { recursive: true, force: true })

/** All commands: a function of what a CommonJS module is given. @returns the file's name */
async function bundleProgram() {
  const { outputFiles } = await build({
    ...common,
    entryPoints: [{ in: 'src/cli/main.ts', out: 'program-[hash]' }],
    define: { 'import.meta.url': 'moduleUrl' },
    banner: {
      js: "(function (require, __filename, __dirname) { const moduleUrl = require('node:url').pathToFileURL(__filename).href;",
    },
    footer: { js: '})' },
    plugins: [nativeBinding, apart],
    write: false,
  })
  const [map, code] = outputFiles
  const text = code.text
  // Read as Latin-1, which is faster: see src/cli/start.ts.
  if (/[^\0-\x7f]/.test(text)) throw new Error('The bundled program is not all ASCII')
  // A starter never meets another build's program.
  const name = `program-${sha256(code.contents).slice(0, 16)}.cjs`
  await writeFile(new URL(name, out), text)
  await writeFile(new URL(`${name}.map`, out), map.contents)
  return name
}

function sha256(bytes) {
  return createHash('sha256').update(bytes).digest('hex')
}
