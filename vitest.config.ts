import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts'],
    // Tests import TypeScript sources; what runs in workers or is generated comes from dist/, kept current by this.
    globalSetup: ['tools/vitest-setup.ts'],
    pool: 'forks',
    // The project is built on machines with 2 cores.
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Skipped tests are listed, with the reason in their title or note.
    reporters: ['default', './tools/vitest-skips.ts'],
  },
});
