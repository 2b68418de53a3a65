import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'

function findRepositoryRoot(): string {
  let folder = import.meta.dirname
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder)
    if (parent === folder) throw new Error('No package.json above this file: run the benchmark from a clone')
    folder = parent
  }
  return folder
}

/** The clone that this file belongs to, whether it runs from source or built. */
export const repositoryRoot = findRepositoryRoot()

/** The built command, as `npx everfold` runs it. */
export const everfoldMain = join(repositoryRoot, 'dist/bin/everfold.js')
