import { live } from './life.js'
import { planLife } from './plan.js'
import { shorten } from './shorten.js'
import { Counts } from './world.js'

const seed = Number(process.argv[2] ?? 1)
const to = Number(process.argv[3] ?? seed)
const steps = Number(process.argv[4] ?? 60)
const counts = new Counts()
const started = performance.now()
let failed = 0
for (let s = seed; s <= to; s++) {
  const result = await live(planLife(s, steps))
  counts.add(result.counts)
  if (result.failure === undefined) continue
  failed++
  console.log(`seed ${s}: ${result.failure.message}`)
  const short = await shorten(planLife(s, steps), result.failure)
  const again = await live(short)
  console.log(`${again.failure?.message}\n${again.trace.join('\n')}`)
  if (failed > 5) break
}
console.log(counts, performance.now() - started)
