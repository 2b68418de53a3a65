import { randomUUID } from 'node:crypto'
import { portableCrc32 } from '../src/crc.js'

/**
 * What chance decides in tests starts from here: the same in each run, so that a change is told of what it broke and of nothing else.
 * `EVERFOLD_TEST_SEED=new` takes a fresh one, any other word that one.
 */
const word = process.env['EVERFOLD_TEST_SEED'] ?? 'everfold'
export const SEED = word === 'new' ? randomUUID() : word

/** The same as a number of 31 bits. */
export const SEED_NUMBER = portableCrc32(Buffer.from(SEED)) >>> 1
