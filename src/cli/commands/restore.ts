import { rmSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { findPointOf } from '../../chain/find-point.js'
import type { Repository } from '../../chain/repository.js'
import { EverfoldError } from '../../errors.js'
import { type FinishableTarget, openFileTarget } from '../../restore/file-target.js'
import { type DiskPlan, planDisk } from '../../restore/plan.js'
import { restoreDisk } from '../../restore/restore.js'
import { cleaningUp } from '../interrupted.js'
import { bytes } from '../output.js'
import { showProgress } from '../progress.js'
import { type CommonOptions, parsePair, printResult, withRepository } from '../run.js'

interface RestoreOptions extends CommonOptions {
  readonly force?: true
}

export function addRestore(program: Command): void {
  program
    .command('restore')
    .description('Write disks as they were at a point; each chunk is checked against its hash.')
    .argument('<machine>')
    .argument(
      '<point>',
      'its id or a unique prefix, latest, parent, or a time (the newest point at or before it)',
    )
    .argument('<disk=out...>', 'each disk, and the file (made sparse) or block device to write it to')
    .option('--force', 'overwrite files that exist')
    .addHelpText(
      'after',
      `
Examples:
  everfold restore web1 latest vda=/tmp/web1.raw
  everfold restore web1 2026-05-31T18:00:00Z vda=/dev/vg0/web1 --force`,
    )
    .action(
      async (
        machine: string,
        wanted: string,
        disks: readonly string[],
        options: RestoreOptions,
        command: Command,
      ) => {
        const started = performance.now()
        const restored = await withRepository(
          options,
          command,
          async (repository) => {
            const pairs = parseDisks(disks)
            const head = await repository.chains.get(machine)
            const { point, index } = findPointOf(head, wanted)
            const plans = []
            for (const [id, path] of pairs)
              plans.push({ path, plan: await planDisk(repository, head.state, index, id) })
            await writeAll(repository, machine, plans, options)
            return {
              machine,
              point: point.id,
              createdAt: point.createdAt,
              disks: plans.map(({ path, plan }) => ({ id: plan.disk, sizeBytes: plan.sizeBytes, path })),
            }
          },
          { threads: true },
        )
        const seconds = Math.round(performance.now() - started) / 1000
        await printResult(options, { ...restored, seconds }, () =>
          restored.disks
            .map(
              (disk) =>
                `Restored ${disk.id} of ${machine} at ${restored.point} to ${disk.path}: ${bytes(disk.sizeBytes)}, all chunks checked.`,
            )
            .join('\n'),
        )
      },
    )
}

/** Writes all disks, and gives them their names once all are whole. */
async function writeAll(
  repository: Repository,
  machine: string,
  disks: readonly { readonly path: string; readonly plan: DiskPlan }[],
  options: RestoreOptions,
): Promise<void> {
  const totalBytes = disks.reduce((sum, { plan }) => sum + plan.sizeBytes, 0)
  const progress = showProgress(`restoring ${machine}`, options.json === true)
  const targets: FinishableTarget[] = []
  const temporaries: string[] = []
  const write = async (): Promise<void> => {
    for (const { path, plan } of disks)
      targets.push(
        await openFileTarget(path, plan.sizeBytes, options.force === true, (name) => temporaries.push(name)),
      )
    let before = 0
    for (const [i, { plan }] of disks.entries()) {
      const target = targets[i]
      if (target === undefined) continue
      await restoreDisk(repository, plan, target, (done) => {
        progress.update(before + done, totalBytes)
      })
      before += plan.sizeBytes
    }
    for (const target of targets) await target.finish()
  }
  const abandonNow = (): void => {
    for (const name of temporaries) rmSync(name, { force: true })
  }
  try {
    await cleaningUp(abandonNow, write)
  } catch (error) {
    for (const target of targets) await target.abandon()
    throw error
  } finally {
    progress.stop()
  }
}

function parseDisks(texts: readonly string[]): (readonly [string, string])[] {
  const pairs = texts.map(parseDisk)
  const paths = pairs.map(([, path]) => resolve(path))
  const twice = paths.find((path, i) => paths.indexOf(path) < i)
  if (twice === undefined) return pairs
  throw new EverfoldError('ARGUMENT_INVALID', `Two disks cannot both be restored to ${twice}.`)
}

function parseDisk(text: string): readonly [string, string] {
  try {
    return parsePair(text)
  } catch {
    throw new EverfoldError(
      'ARGUMENT_INVALID',
      `"${text}" names no disk and file. Write DISK=OUT, such as vda=restored.raw.`,
    )
  }
}
