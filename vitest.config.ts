import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts', 'bench/**/*.test.ts'],
    pool: 'forks',
    // They wait for disks, for clocks and for other processes half of their time.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    globalSetup: ['./test/s3-global-setup.ts'],
    reporters: ['default', './test/summary-reporter.ts'],
  },
})
