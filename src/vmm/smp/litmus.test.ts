import { describe, expect, it } from 'vitest';
import { MIB } from '../../base/units.js';
import { startMachine } from '../../testing/machine-process.js';
import { COUNTS, litmusKernel, type LitmusOptions } from '../../testing/smp/litmus.js';

/** `npm run verify` asks for more. */
const FEW = { rounds: 400, sums: 50_000, splits: 500, wides: 5000 } as const;

/** Runs the kernel, and gives what it has counted. */
async function run(accel: 'interp' | 'wasm', clock: 'host' | 'virtual', options: LitmusOptions): Promise<number[]> {
  const { cpus } = options;
  const kernel = { name: 'litmus', data: litmusKernel(options), commandLine: '', modules: [] };
  const config = { cpu: 'x86-64-v2', cpus, memory: 64 * MIB, boot: { kernel }, disks: [], debugExit: true } as const;
  const machine = await startMachine({ kind: 'create', config: { ...config, noReboot: true, clock } }, accel);
  expect(await machine.ended).toEqual({ kind: 'exit', code: 1 });
  const bytes = Buffer.from(machine.output['serial'] ?? '', 'latin1');
  const at = bytes.indexOf('LITM') + 4;
  return COUNTS.map((_, i) => bytes.readUInt32LE(at + i * 4));
}

describe('what CPUs see of each other', () => {
  it.each([
    { accel: 'interp', cpus: 2, clock: 'host' },
    { accel: 'wasm', cpus: 2, clock: 'host' },
    { accel: 'wasm', cpus: 4, clock: 'host' },
    { accel: 'wasm', cpus: 4, clock: 'virtual' },
  ] as const)(
    'is what x86 allows: $cpus on $accel, clock $clock',
    { timeout: 60_000 },
    async ({ accel, cpus, clock }) => {
      const options = { cpus, ...FEW, rounds: FEW.rounds / cpus };
      const counted = await run(accel, clock, options);
      const wrong = COUNTS.flatMap(({ name, kind }, i) => {
        const expected = kind === 'never' ? 0 : kind === 'may' ? counted[i] : options[kind] * cpus;
        return counted[i] === expected ? [] : [`${name}: ${String(counted[i])}, not ${String(expected)}`];
      });
      expect(wrong).toEqual([]);
    },
  );
});
