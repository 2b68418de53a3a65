import { config } from 'zod/v4/core'

/*
 * Before any schema is made: zod generates code for each, which is the faster the more it is used. A command reads a handful of records;
 * only a service reads many.
 */
if (process.argv[2] !== 'serve') config({ jitless: true })
