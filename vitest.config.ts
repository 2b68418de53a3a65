import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts', 'bench/**/*.test.ts'],
    pool: 'forks',
    // They wait for disks, for clocks and for other processes half of their time.
    maxWorkers: 2,
    // What hangs ends at some time; nothing is told from how fast it is.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    globalSetup: ['./test/s3-global-setup.ts'],
    setupFiles: ['./test/property-seed.ts'],
    reporters: ['default', './test/summary-reporter.ts'],
  },
})
