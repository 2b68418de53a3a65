import type { Reporter, SerializedError, TestModule } from 'vitest/node'

/**
 * Ends a run with one line that a program can read: `N passed, N failed`, and `, N skipped` when any were.
 * Whatever else fails a run counts as failed too: a test file that cannot be loaded, a hook, an error outside
 * of every test. A run in which no test was executed fails.
 */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    const count = { passed: 0, failed: unhandledErrors.length, skipped: 0 }
    for (const module of modules) {
      count.failed += module.errors().length
      for (const suite of module.children.allSuites()) count.failed += suite.errors().length
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        count[state === 'pending' ? 'failed' : state] += 1
      }
    }

    const executed = count.passed + count.failed > 0
    const skipped = count.skipped > 0 ? `, ${count.skipped} skipped` : ''
    // At exit: the other reporters print their summaries after this method was called.
    process.once('exit', () => {
      if (!executed) {
        process.exitCode = 1
        console.log('No test was executed.')
      }
      console.log(`${count.passed} passed, ${count.failed} failed${skipped}`)
    })
  }
}
