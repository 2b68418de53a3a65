import * as z from 'zod'
import { ROLES } from './roles.js'
import { TOKEN_MACHINES_MAX, TOKEN_NAME_LENGTH_MAX } from './token-list.js'

export const tokenRequestSchema = z
  .strictObject({
    name: z.string().min(1).max(TOKEN_NAME_LENGTH_MAX),
    role: z.enum(ROLES),
    machines: z
      .array(z.string().min(1).max(200))
      .min(1)
      .max(TOKEN_MACHINES_MAX)
      .optional()
      .meta({ description: 'Names of machines; * stands for any characters. Absent: all machines' }),
    expiresAt: z.iso.datetime({ offset: true }).optional(),
  })
  .meta({ id: 'TokenRequest' })

export const tokenSchema = z
  .strictObject({
    id: z.string(),
    name: z.string(),
    role: z.enum(ROLES),
    machines: z.array(z.string()),
    createdAt: z.iso.datetime(),
    expiresAt: z.iso.datetime().optional(),
  })
  .meta({ id: 'Token' })

export const createdTokenSchema = tokenSchema
  .extend({ token: z.string().meta({ description: 'Shown this once; only its hash is stored' }) })
  .meta({ id: 'CreatedToken' })

export const tokensSchema = z.strictObject({ tokens: z.array(tokenSchema) }).meta({ id: 'Tokens' })
