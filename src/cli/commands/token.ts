import type { Command } from 'commander'
import { EverfoldError } from '../../errors.js'
import { ROLES, type Role } from '../../server/roles.js'
import type { TokenInfo } from '../../server/token-book.js'
import { table, time } from '../output.js'
import { parseMoment } from '../parse.js'
import { type CommonOptions, printResult, withOperations } from '../run.js'

interface CreateOptions extends CommonOptions {
  readonly name?: string
  readonly role?: Role
  readonly machine?: readonly string[]
  readonly expires?: number
}

export function addToken(program: Command): void {
  const token = program
    .command('token')
    .description('Make, list and revoke the tokens that let programs use the service.')
    .addHelpText(
      'after',
      `
With --repo these work on the repository itself, while no service runs on it; with --server a running service does them.

Roles: restore reads points and disks, report reads figures, operator pins, folds and deletes points, admin may
everything; backup has nothing to do yet.`,
    )
  addCreate(token)
  addList(token)
  addRevoke(token)
}

function addCreate(token: Command): void {
  token
    .command('create')
    .description('Make a token. It is shown once, and only its hash is stored.')
    .option('--name <name>', 'what it is for, for whoever comes next')
    .option('--role <role>', ROLES.join(', '), parseRole)
    .option('--machine <pattern...>', 'machines that it is for; * stands for any characters (default: all)')
    .option('--expires <date>', 'it holds through this day, or until this time', parseMoment)
    .addHelpText(
      'after',
      `
Examples:
  everfold token create --name 'restore desk' --role restore
  everfold token create --name 'web team' --role operator --machine 'web*' --expires 2027-12-31`,
    )
    .action(async (options: CreateOptions, command: Command) => {
      const { name, role, machine, expires } = options
      if (name === undefined || role === undefined)
        throw new EverfoldError('ARGUMENT_INVALID', 'Give the token --name TEXT and --role ROLE.')
      const request = {
        name,
        role,
        ...(machine === undefined ? {} : { machines: machine }),
        ...(expires === undefined ? {} : { expiresMs: expires }),
      }
      const created = await withOperations(options, command, (operations) => operations.createToken(request))
      await printResult(options, created, () => `Keep it: it is not shown again.\n${created.token}`)
    })
}

function addList(token: Command): void {
  token
    .command('list')
    .description('List the tokens, expired ones included.')
    .action(async (options: CommonOptions, command: Command) => {
      const tokens = await withOperations(options, command, (operations) => operations.listTokens())
      await printResult(options, tokens, () => (tokens.length === 0 ? 'No tokens yet.' : listing(tokens)))
    })
}

function addRevoke(token: Command): void {
  token
    .command('revoke')
    .description('Take a token back: it does not hold any more.')
    .argument('<id>', 'as everfold token list shows it')
    .action(async (id: string, options: CommonOptions, command: Command) => {
      const revoked = await withOperations(options, command, (operations) => operations.revokeToken(id))
      await printResult(options, revoked, () => `Token ${revoked.id} (${revoked.name}) is revoked.`)
    })
}

function listing(tokens: readonly TokenInfo[]): Promise<string> {
  return table(
    ['id', 'name', 'role', 'machines', 'made', 'expires'],
    tokens.map(({ id, name, role, machines, createdAt, expiresAt }) => [
      id,
      name,
      role,
      machines.join(' '),
      time(createdAt),
      expiresAt === undefined ? 'never' : time(expiresAt),
    ]),
    [0, 1, 2, 3, 4, 5],
  )
}

/** For commander. */
function parseRole(text: string): Role {
  const role = ROLES.find((known) => known === text)
  if (role !== undefined) return role
  throw new EverfoldError('ARGUMENT_INVALID', `There is no role "${text}": there are ${ROLES.join(', ')}.`)
}
