import { readdirSync } from 'node:fs'
import js from '@eslint/js'
import { defineConfig } from 'eslint/config'
import tseslint from 'typescript-eslint'

/**
 * The folders of src/, top to bottom. A folder may import from itself, from the rows below its own, and from the
 * leaves: the files directly in src/. Folders in one row do not import each other.
 */
// biome-ignore format: a table
const layers = [
  ['cli'],
  ['server', 'client'],
  ['restore', 'merge'],
  ['chain'],
  ['index'],
  ['pack'],
  ['chunker', 'feed'],
  ['store'],
]

/** Folders that may import less than what is below them: the client runs in browsers, without the engine. */
const narrow = { client: ['chunker'] }

/** Folders of src/ that may import anything, and that nothing else imports. */
const unlayered = ['simulate']

const tests = ['**/*.test.ts', 'test/**']
const folders = [...layers.flat(), ...unlayered]

for (const entry of readdirSync(new URL('src', import.meta.url), { withFileTypes: true })) {
  if (entry.isDirectory() && !folders.includes(entry.name)) {
    throw new Error(`src/${entry.name} is in no layer: add it to the table at the top of eslint.config.js`)
  }
}

/** A regular expression for relative imports that enter one of `names`, with at least one `../` if `upward`. */
function entering(names, upward) {
  return `^(?:\\.{1,2}/)*${upward ? '\\.\\./' : ''}(?:src/)?(?:${names.join('|')})/`
}

/** Forbids `files` to import from the folders `forbidden`, and product code to import what only tests have. */
function restrict(name, files, forbidden, upward) {
  return {
    name: `layers/${name}`,
    files,
    ignores: tests,
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              regex: entering(forbidden, upward),
              message: `Imports go down only: ${name} may not import this layer (see eslint.config.js).`,
            },
            {
              regex: `${entering(['test', 'bench'], true)}|\\.test\\.js$|^(?:vitest|fast-check)(?:/|$)`,
              message: 'Product code does not import tests, benchmarks or what they are made with.',
            },
          ],
        },
      ],
      'no-restricted-syntax': [
        'error',
        {
          selector: 'ImportDeclaration[source.value="zod"] > ImportSpecifier',
          message: "Write import * as z from 'zod': otherwise each command loads all of it, 0.5 MB.",
        },
        {
          selector: 'ImportExpression[source.value=/^[.][.]/], ImportExpression[source.type!="Literal"]',
          message:
            'Import what lies outside the own folder statically: the layers cannot be proven otherwise.',
        },
      ],
    },
  }
}

const layerRules = layers.flatMap((row, depth) =>
  row.map((folder) => {
    const below = narrow[folder] ?? layers.slice(depth + 1).flat()
    const forbidden = folders.filter((other) => other !== folder && !below.includes(other))
    return restrict(`src/${folder}`, [`src/${folder}/**/*.ts`], forbidden, true)
  }),
)

export default defineConfig(
  { ignores: ['dist/', 'test/fixtures/'] },
  js.configs.recommended,
  tseslint.configs.strictTypeChecked,
  {
    name: 'everfold',
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      eqeqeq: 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      // A floating promise is a lost write here, and `void` does not save it.
      '@typescript-eslint/no-floating-promises': ['error', { ignoreVoid: false }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/no-unnecessary-condition': [
        'error',
        { allowConstantLoopConditions: 'only-allowed-literals' },
      ],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // An async method with nothing to wait for still turns what it throws into a rejection.
      '@typescript-eslint/require-await': 'off',
    },
  },
  restrict('leaves', ['src/*.ts'], folders, false),
  layerRules,
  {
    name: 'tests',
    files: tests,
    rules: {
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-empty-function': 'off',
      // What JSON.parse gives is looked at by expect, not by the type checker.
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/unbound-method': 'off',
    },
  },
  {
    name: 'scripts',
    files: ['**/*.js', '**/*.mjs'],
    extends: [tseslint.configs.disableTypeChecked],
    languageOptions: {
      globals: { console: 'readonly', fetch: 'readonly', process: 'readonly', URL: 'readonly' },
    },
  },
)
