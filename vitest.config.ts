import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['tests/**/*.test.ts'],
    // For what hangs: a machine that is busy with other work is no failure.
    testTimeout: 240_000,
    hookTimeout: 240_000,
    expect: { poll: { timeout: 60_000 } },
    pool: 'forks',
    maxWorkers: 2,
    reporters: process.env['CCC_TEST_JSON'] ? ['default', ['json', { outputFile: process.env['CCC_TEST_JSON'] }]] : ['default'],
  },
});
