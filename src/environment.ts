import { randomBytes } from 'node:crypto'

/** Time and randomness, passed in, so that a whole service can run inside a deterministic simulation. */
export interface Environment {
  /** Milliseconds since 1970, UTC. Never used to decide what may be deleted: clocks jump. */
  now(): number
  /** Milliseconds of a clock that never jumps, for durations. */
  monotonicMs(): number
  /** `length` unpredictable bytes. */
  random(length: number): Uint8Array
}

export const realEnvironment: Environment = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  random: (length) => randomBytes(length),
}
