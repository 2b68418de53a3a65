#!/usr/bin/env node
import { CommanderError } from 'commander'
import { makeProgram } from './program.js'
import { reportError } from './run.js'

const json = process.argv.includes('--json')
try {
  await makeProgram().parseAsync()
} catch (error) {
  // Commander has said already what is wrong with the arguments, or shown the help that was asked for.
  process.exitCode =
    error instanceof CommanderError ? (error.exitCode === 0 ? 0 : 2) : reportError(error, json)
}
