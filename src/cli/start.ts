#!/usr/bin/env node
import { hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { Script } from 'node:vm'

/*
 * The file that is called: it runs the program from V8's cache of its code. To compile the program takes longer than to run most
 * commands. V8 leaves a cache of another version of its own or with other flags, and compiles the code as if there were none. It believes
 * what is in the cache, and that it is of this code: so we look.
 */

/** The program's file, beside this one, and the SHA-256 of the cache beside that: scripts/bundle.js knows. */
declare const PROGRAM: string
declare const CACHE_SHA256: string

type Program = (require: NodeJS.Require, filename: string, dirname: string) => void

// When nothing is left to do, the process ends at once. Node.js would take its heap apart first: 20 ms, and 50 of all cores together.
process.once('beforeExit', () => process.exit())

const path = join(import.meta.dirname, PROGRAM)
const cachedData = codeCache(`${path}.cache`)
// The build sees to it that all of it is ASCII.
const code = readFileSync(path, 'latin1')
const script = new Script(code, { filename: path, ...(cachedData && { cachedData }) })
const program = script.runInThisContext() as Program
program(createRequire(path), path, import.meta.dirname)

function codeCache(file: string): Buffer | undefined {
  try {
    const bytes = readFileSync(file)
    return hash('sha256', bytes) === CACHE_SHA256 ? bytes : undefined
  } catch {
    return undefined
  }
}
