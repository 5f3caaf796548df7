import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    // Tests import TypeScript sources; what runs in workers or is generated comes from dist/, kept current by this.
    globalSetup: ['tools/vitest-setup.ts'],
    pool: 'forks',
    // The project is built on machines with 2 cores.
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Skipped tests are listed, with the reason in their title or note.
    reporters: ['default', './tools/vitest-skips.ts'],
    projects: [
      { extends: true, test: { name: 'all', include: ['src/**/*.test.ts'] } },
      // Tests of processor behaviour once more, as translated code.
      {
        extends: true,
        test: {
          name: 'wasm',
          include: ['src/cpu/x86/system/*.test.ts', 'src/cpu/x86/packed-helpers.test.ts', 'src/accel/interp/*.test.ts'],
          env: { VITRINE_TEST_ACCEL: 'wasm' },
        },
      },
    ],
  },
});
