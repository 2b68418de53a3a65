import type { Command } from 'commander'
import { counted } from '../output.js'
import { showProgress } from '../progress.js'
import { type CommonOptions, printResult, withOperations } from '../run.js'

export function addReindex(program: Command): void {
  program
    .command('reindex')
    .description(
      'Rebuild the index from the packs in the store. Never needed to restore; done by itself when the index is lost.',
    )
    .addHelpText('after', '\nExample:\n  everfold reindex --repo /backup/repo')
    .action(async (options: CommonOptions, command: Command) => {
      const result = await withOperations(options, command, async (operations) => {
        const progress = showProgress('reading packs', options.json === true)
        return operations
          .reindex((done, total) => {
            progress.update(done, total)
          })
          .finally(() => {
            progress.stop()
          })
      })
      await printResult(
        options,
        result,
        () =>
          `Indexed ${counted(result.chunks, 'chunk')} of ${counted(result.packs, 'pack')}.${damage(result.damaged)}`,
      )
      if (result.damaged.length > 0) process.exitCode = 5
    })
}

function damage(packs: readonly string[]): string {
  return packs.length === 0
    ? ''
    : `\n${packs.length} packs are damaged and were left out. Run: everfold verify`
}
