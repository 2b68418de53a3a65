import fc from 'fast-check'
import { SEED_NUMBER } from './seed.js'

fc.configureGlobal({ seed: SEED_NUMBER })
