import type { SimulationFailure } from './failure.js'
import { live } from './life.js'
import type { Life, Step } from './plan.js'

/** Lives that are tried to shorten one. */
const ATTEMPTS_MAX = 600

/**
 * Shortens a failing life while it still fails in the same way: leaves out steps, halves first, then operations, faults
 * and what comes after a step.
 */
export async function shorten(life: Life, failure: SimulationFailure): Promise<Life> {
  let best = life
  let attempts = 0
  const stillFails = async (candidate: Life): Promise<boolean> => {
    if (++attempts > ATTEMPTS_MAX) return false
    const result = await live(candidate)
    if (result.failure === undefined || kindOf(result.failure) !== kindOf(failure)) return false
    best = candidate
    return true
  }
  for (let before = -1; before !== sizeOf(best); ) {
    before = sizeOf(best)
    for (let size = best.steps.length; size >= 1; size = Math.floor(size / 2))
      for (let at = best.steps.length - size; at >= 0; at -= size)
        await stillFails({ ...best, steps: [...best.steps.slice(0, at), ...best.steps.slice(at + size)] })
    for (let i = best.steps.length - 1; i >= 0; i--)
      for (;;) {
        const step = best.steps[i]
        if (
          step === undefined ||
          !(await firstThat(simplerSteps(step), (one) => stillFails(withStep(best, i, one))))
        )
          break
      }
    if (attempts > ATTEMPTS_MAX) break
  }
  return best
}

function* simplerSteps(step: Step): Generator<Step> {
  if (step.bundles !== undefined) {
    const { bundles: _, ...without } = step
    yield without
  }
  if (step.cold) yield { ...step, cold: false }
  if (step.after !== 'nothing') yield { ...step, after: 'nothing' }
  for (const i of step.operations.keys()) yield { ...step, operations: step.operations.toSpliced(i, 1) }
  for (const i of step.faults.keys()) yield { ...step, faults: step.faults.toSpliced(i, 1) }
}

async function firstThat<T>(candidates: Iterable<T>, holds: (one: T) => Promise<boolean>): Promise<boolean> {
  for (const one of candidates) if (await holds(one)) return true
  return false
}

function withStep(life: Life, i: number, step: Step): Life {
  return { ...life, steps: life.steps.with(i, step) }
}

function sizeOf(life: Life): number {
  return life.steps.reduce((sum, step) => sum + 10 + step.operations.length + step.faults.length, 0)
}

/** What went wrong, without the names and numbers of this one case. */
function kindOf(failure: SimulationFailure): string {
  const [first = ''] = failure.message.split('\n')
  return first.replace(/\b[0-9a-z]*[0-9][0-9a-z]*\b/g, '#').slice(0, 60)
}
