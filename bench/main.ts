import { chainUsage, parseChainOptions, runChain } from './chain.js'
import { exitOnSignals } from './command.js'
import { compareUsage, runCompare } from './compare-command.js'
import { decayUsage, parseDecayOptions, runDecay } from './decay.js'
import { engineUsage, parseEngineOptions, runEngine } from './engine.js'
import { foldUsage, parseFoldOptions, runFold } from './fold.js'
import { framesUsage, parseFramesOptions, runFrames } from './frames.js'
import { growthUsage, parseGrowthOptions, runGrowth } from './growth.js'
import { markUsage, parseMarkOptions, runMark } from './mark.js'
import { parseS3Options, runS3, s3Usage } from './s3.js'
import { parseServiceOptions, runService, serviceUsage } from './service.js'
import { openWorkspace, type Workspace } from './workspace.js'

const usage = `Usage: npm run bench -- [BENCHMARK] [OPTIONS]

${compareUsage}

${engineUsage}

${chainUsage}

${framesUsage}

${foldUsage}

${markUsage}

${decayUsage}

${growthUsage}

${serviceUsage}

${s3Usage}

Images are kept in EVERFOLD_BENCH_DIR (default: everfold-bench in the folder for temporary files).`

type Benchmark = (args: readonly string[], workspace: () => Promise<Workspace>) => Promise<void>

/** A benchmark checks its arguments before it gets a workspace. */
function benchmark<Options>(
  parse: (args: readonly string[]) => Options,
  work: (options: Options, workspace: Workspace) => Promise<void>,
): Benchmark {
  return async (args, workspace) => {
    const options = parse(args)
    await work(options, await workspace())
  }
}

const benchmarks: Readonly<Record<string, Benchmark>> = {
  engine: benchmark(parseEngineOptions, runEngine),
  chain: benchmark(parseChainOptions, runChain),
  frames: benchmark(parseFramesOptions, runFrames),
  service: benchmark(parseServiceOptions, runService),
  s3: benchmark(parseS3Options, runS3),
  fold: benchmark(parseFoldOptions, runFold),
  mark: benchmark(parseMarkOptions, runMark),
  decay: benchmark(parseDecayOptions, runDecay),
  growth: benchmark(parseGrowthOptions, runGrowth),
}

/** One for all benchmarks that a command runs. */
function oneWorkspace(): () => Promise<Workspace> {
  let opened: Promise<Workspace> | undefined
  return () => (opened ??= openWorkspace())
}

async function main(args: readonly string[]): Promise<void> {
  if (args.includes('--help') || args.includes('-h')) {
    console.log(usage)
    return
  }
  const workspace = oneWorkspace()
  const runBenchmark = async (name: string, options: readonly string[]): Promise<void> => {
    const found = Object.hasOwn(benchmarks, name) ? benchmarks[name] : undefined
    if (found === undefined)
      throw new Error(`No benchmark is called "${name}": there is ${Object.keys(benchmarks).join(', ')}`)
    await found(options, workspace)
  }
  const [first, ...rest] = args
  if (first === '--compare') await runCompare(rest, workspace, runBenchmark)
  else if (first !== undefined && !first.startsWith('-')) await runBenchmark(first, rest)
  else await runBenchmark('engine', args)
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
