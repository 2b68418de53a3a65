import { exitOnSignals } from './command.js'
import { decayUsage, parseDecayOptions, runDecay } from './decay.js'
import { engineUsage, parseEngineOptions, runEngine } from './engine.js'
import { foldUsage, parseFoldOptions, runFold } from './fold.js'
import { framesUsage, parseFramesOptions, runFrames } from './frames.js'
import { markUsage, parseMarkOptions, runMark } from './mark.js'
import { parseS3Options, runS3, s3Usage } from './s3.js'
import { parseServiceOptions, runService, serviceUsage } from './service.js'
import { openWorkspace } from './workspace.js'

const usage = `Usage: npm run bench -- [BENCHMARK] [OPTIONS]

${engineUsage}

${framesUsage}

${foldUsage}

${markUsage}

${decayUsage}

${serviceUsage}

${s3Usage}

Images are kept in EVERFOLD_BENCH_DIR (default: everfold-bench in the folder for temporary files).`

/** A benchmark checks its arguments before it gets a workspace. */
const benchmarks: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
  engine: async (args) => {
    const options = parseEngineOptions(args)
    await runEngine(options, await openWorkspace())
  },
  frames: async (args) => {
    const options = parseFramesOptions(args)
    await runFrames(options, await openWorkspace())
  },
  service: async (args) => {
    const options = parseServiceOptions(args)
    await runService(options, await openWorkspace())
  },
  s3: async (args) => {
    const options = parseS3Options(args)
    await runS3(options, await openWorkspace())
  },
  fold: async (args) => {
    const options = parseFoldOptions(args)
    await runFold(options, await openWorkspace())
  },
  mark: async (args) => {
    const options = parseMarkOptions(args)
    await runMark(options, await openWorkspace())
  },
  decay: async (args) => {
    const options = parseDecayOptions(args)
    await runDecay(options, await openWorkspace())
  },
}

async function main(args: readonly string[]): Promise<void> {
  if (args.includes('--help') || args.includes('-h')) {
    console.log(usage)
    return
  }
  const [first, ...rest] = args
  const named = first !== undefined && !first.startsWith('-')
  const name = named ? first : 'engine'
  const benchmark = Object.hasOwn(benchmarks, name) ? benchmarks[name] : undefined
  if (benchmark === undefined) {
    throw new Error(`No benchmark is called "${name}": there is ${Object.keys(benchmarks).join(', ')}`)
  }
  await benchmark(named ? rest : args)
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause === undefined ? error.message : `${error.message}\n${describe(error.cause)}`
}

exitOnSignals()
try {
  await main(process.argv.slice(2))
} catch (error) {
  console.error(`bench: ${describe(error)}`)
  process.exitCode = 1
}
