import { type CopyFigures, measureCopy } from './engine-copy.js'
import { measureLoop } from './engine-loop.js'
import { makeRandomDisks, measureRandom, type RandomFigures } from './engine-random.js'
import { measureThroughService, type ServiceFigures } from './engine-service.js'
import type { Beside } from './engine-summary.js'
import { GiB } from './image.js'
import type { LoopFigures } from './loop-probe.js'
import { medianOf } from './measure.js'
import { formatNumber } from './report.js'

/** What is measured beside the steps of the tools. */
export const bystanderRows = ['copy', 'service', 'random', 'loop'] as const
export type BystanderRow = (typeof bystanderRows)[number]

export interface BystanderOptions {
  readonly rows: readonly string[]
  readonly randomGib: number
  readonly main: string
}

/** What Everfold is held against beside peers, and what it does that they do not: once a round. */
export class Bystanders {
  readonly #options: BystanderOptions
  readonly #image: string
  readonly #scratch: string
  readonly #copy: CopyFigures[] = []
  readonly #service: ServiceFigures[] = []
  readonly #random: RandomFigures[] = []
  readonly #loop: LoopFigures[] = []
  #disks: readonly string[] | undefined

  constructor(options: BystanderOptions, image: string, scratch: string) {
    this.#options = options
    this.#image = image
    this.#scratch = scratch
  }

  /** @param name  what is printed before each figure */
  async round(name: string): Promise<void> {
    const { rows, main, randomGib } = this.#options
    const told = (what: string, seconds: number): void =>
      console.log(`${name}, ${what}: ${formatNumber(seconds)} s`)
    if (rows.includes('copy')) {
      const copy = await measureCopy(this.#image, this.#scratch)
      this.#copy.push(copy)
      told('cp --sparse and sync', copy.wallSeconds)
    }
    if (rows.includes('service')) {
      const service = await measureThroughService(this.#image, this.#scratch)
      this.#service.push(service)
      told('full through the service', service.wallSeconds)
    }
    if (rows.includes('random')) {
      this.#disks ??= await makeRandomDisks(this.#scratch, randomGib * GiB)
      const random = await measureRandom(this.#disks, main, this.#scratch)
      this.#random.push(random)
      told('random bytes', random.wallSeconds)
    }
    if (rows.includes('loop')) this.#loop.push(await measureLoop(this.#image, main, this.#scratch))
  }

  get medians(): Beside {
    return {
      ...(this.#copy.length > 0 && { copy: medianOf(this.#copy) }),
      ...(this.#service.length > 0 && { service: medianOf(this.#service) }),
      ...(this.#random.length > 0 && { random: medianOf(this.#random) }),
      ...(this.#loop.length > 0 && { loop: medianOf(this.#loop) }),
    }
  }

  /** For the results file. */
  get results(): object[] {
    const { copy, service, random, loop } = this.medians
    return [
      { name: 'copy', medians: copy, rounds: this.#copy },
      { name: 'service', medians: service, rounds: this.#service },
      { name: 'random', medians: random, rounds: this.#random },
      { name: 'loop', medians: loop, rounds: this.#loop },
    ].filter(({ rounds }) => rounds.length > 0)
  }
}
