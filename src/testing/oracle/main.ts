/**
 * The CPU oracle as a program: `node dist/testing/oracle/main.js [--cases n] [--seed n] [--rows regexp]
 * [--kind 64|flat32|segmented32|segmented16] [--accel interp|wasm]`. On wasm every case runs as translated code, between other
 * instructions (block.ts). Prints what was compared and every difference; exits with 1 when there is one, with 77 where the host cannot run cases.
 */
import { GuestRunner } from './guest.js';
import { isTestedAccelerator } from '../accelerators.js';
import { machineForOracle } from './machine.js';
import { hostFlags, nativeObstacle, NativeRunner } from './native.js';
import { describeFailure, runOracle } from './oracle.js';
import { selectRows } from './rows.js';
import { VENDOR_CHOICES } from './vendor.js';

function option(name: string, fallback: string): string {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : process.argv[at + 1];
}

function main(): number {
  const obstacle = nativeObstacle();
  if (obstacle !== undefined) {
    console.log(`CPU oracle skipped: ${obstacle}`);
    return 77;
  }
  const cases = Number(option('cases', '300000'));
  const pattern = new RegExp(option('rows', ''));
  const { rows, leftOut } = selectRows(hostFlags());
  const wanted = rows.filter(({ name, mnemonic }) => pattern.test(name) || pattern.test(mnemonic));
  const started = Date.now();
  const native = new NativeRunner();
  try {
    const accelerator = option('accel', 'interp');
    if (!isTestedAccelerator(accelerator)) throw new Error(`no accelerator ${accelerator}`);
    const { vm, vcpu, identity } = machineForOracle(accelerator);
    const guest = new GuestRunner(vm, vcpu, identity);
    const only = option('kind', '');
    const kinds = native.kinds.filter((kind) => only === '' || kind === only);
    if (!native.hasSegments)
      console.log('left out, the kernel has no modify_ldt for 16-bit segments: 16-bit and segmented code');
    const report = runOracle({
      native,
      guest,
      rows: wanted,
      cases,
      seed: Number(option('seed', '1')),
      kinds,
      inBlocks: accelerator === 'wasm' || process.argv.includes('--blocks'),
      keep: 60,
    });
    for (const failure of report.failures) console.log(describeFailure(failure));
    const reasons = new Map<string, Set<string>>();
    for (const { name, reason } of leftOut) reasons.set(reason, (reasons.get(reason) ?? new Set()).add(name));
    for (const [reason, names] of reasons) console.log(`left out, ${reason}: ${[...names].join(' ')}`);
    for (const { reason } of VENDOR_CHOICES)
      console.log(`makers differ (${report.vendor.get(reason) ?? 0} times): ${reason}`);
    const traps = [...report.traps].sort(([a], [b]) => a - b).map(([vector, times]) => `${vector}: ${times}`);
    console.log(`cases by vector: ${traps.join(', ')}`);
    for (const [name, times] of report.failed) console.log(`${name}: ${times} cases differ`);
    const failed = [...report.failed.values()].reduce((sum, times) => sum + times, 0);
    const seconds = ((Date.now() - started) / 1000).toFixed(1);
    console.log(`${report.cases} cases of ${wanted.length} encodings in ${seconds} s, ${failed} differ`);
    return failed === 0 ? 0 : 1;
  } finally {
    native.dispose();
  }
}

process.exitCode = main();
