import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    globalSetup: './apps/server/test/postgres.ts',
    include: ['apps/**/*.test.ts', 'packages/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 30_000,
    pool: 'forks',
    // The default leaves one core idle, which is half of a small machine.
    maxWorkers: '100%',
  },
});
