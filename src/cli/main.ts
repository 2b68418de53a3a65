#!/usr/bin/env node
import { prepareThreads } from '../pack/crew.js'

/*
 * Threads take as long to start as the command takes to load, so they start first. Nothing else is imported here: that would be
 * loaded before them.
 */
const WITH_THREADS = ['backup', 'restore', 'verify', 'gc']

const [command, ...rest] = process.argv.slice(2)
if (command !== undefined && WITH_THREADS.includes(command) && !rest.includes('--help')) prepareThreads()
await import('./command-line.js')
