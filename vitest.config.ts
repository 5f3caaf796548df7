import { defineConfig } from 'vitest/config';
import LongFirst from './tools/vitest-order.js';

/** Tests that start programs, threads or KVM's machines: each file has a process of its own. */
const programs = [
  'src/{api,cli,guests,host,oci,runtime,sdk,server,testing}/**/*.test.ts',
  'src/{accel/kvm,machine,vmm/smp}/**/*.test.ts',
];

/** Of the same folders, those that need none: they leave nothing behind. */
const units = [
  'src/cli/{*-options,escape-keys,guest-command,parse,progress-line}.test.ts',
  'src/guests/**/{apt-sources,cpio,deb822,debian-tools,initramfs,kernel-image,kernel-modules}.test.ts',
  'src/machine/{common,pc}/{cpu-features,interrupt-controllers,memory}.test.ts',
  'src/oci/{layer-tree,reference,tar-reader}.test.ts',
  'src/runtime/common/{disk-words,input-gate,output-buffer,page-compression}.test.ts',
  'src/runtime/node/choose-accelerator.test.ts',
  'src/testing/console-parts.test.ts',
];

export default defineConfig({
  test: {
    // Tests import TypeScript sources; what runs in workers or is generated comes from dist/, kept current by this.
    globalSetup: ['tools/vitest-setup.ts'],
    pool: 'forks',
    // Two cores, which three files keep busy: a test waits for much.
    maxWorkers: 3,
    // For what hangs: no test is about how long something takes, and some machines take long.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    sequence: { sequencer: LongFirst },
    // Skipped tests are listed, with the reason in their title or note.
    reporters: ['default', './tools/vitest-skips.ts'],
    projects: [
      { extends: true, test: { name: 'programs', include: programs, exclude: units } },
      { extends: true, test: { name: 'units', include: units, isolate: false } },
      // The others leave nothing behind: their files share the processes they run in, and what was loaded there.
      { extends: true, test: { name: 'parts', include: ['src/**/*.test.ts'], exclude: programs, isolate: false } },
      // Tests of processor behaviour once more, as translated code.
      {
        extends: true,
        test: {
          name: 'wasm',
          include: ['src/cpu/x86/system/*.test.ts', 'src/cpu/x86/packed-helpers.test.ts', 'src/accel/interp/*.test.ts'],
          isolate: false,
          env: { VITRINE_TEST_ACCEL: 'wasm' },
        },
      },
    ],
  },
});
