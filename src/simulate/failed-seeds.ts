/** Seeds of lives that failed once, with what was wrong then: they are lived again by every test run. */
export const FAILED_SEEDS: readonly number[] = []
