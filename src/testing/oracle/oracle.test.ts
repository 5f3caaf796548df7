import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { INSTRUCTIONS } from '../../arch/x86/instructions/index.js';
import { CASE, CASE_SIZE, FX } from './case-format.js';
import { generateCase } from './generate.js';
import { GuestRunner } from './guest.js';
import { machineForOracle } from './machine.js';
import { hostFlags, nativeObstacle, NativeRunner } from './native.js';
import { describeFailure, runOracle, type Runner } from './oracle.js';
import { random } from './random.js';
import { selectRows } from './rows.js';

/** `npm run verify` runs many times more: see main.ts. */
const CASES = 16_000;

const obstacle = nativeObstacle();
const native = obstacle === undefined ? new NativeRunner() : undefined;
afterAll(() => native?.dispose());

describe('CPU oracle', () => {
  it('makes the same cases of the same seed', () => {
    const row = INSTRUCTIONS.find(({ name }) => name === 'add');
    const [a, b] = [Buffer.alloc(CASE_SIZE), Buffer.alloc(CASE_SIZE)];
    if (row === undefined) throw new Error('no ADD');
    expect(generateCase(random(7), row, a)).toEqual(generateCase(random(7), row, b));
    expect(a.equals(b)).toBe(true);
  });

  it.for([
    { accelerator: 'interp', cases: CASES, inBlocks: false, seed: 20_000, index: 0 },
    { accelerator: 'interp', cases: CASES / 8, inBlocks: true, seed: 40_000, index: 0 },
    { accelerator: 'wasm', cases: CASES / 4, inBlocks: true, seed: 30_000, index: 0 },
    { accelerator: 'interp', cases: CASES / 2, inBlocks: false, seed: 50_000, index: 1 },
    { accelerator: 'wasm', cases: CASES / 4, inBlocks: true, seed: 60_000, index: 1 },
  ] as const)(
    '$accelerator agrees with the host processor (between other instructions: $inBlocks, CPU $index)',
    { timeout: 120_000 },
    ({ accelerator, cases, inBlocks, seed, index }, { skip }) => {
      if (native === undefined) return skip(`the CPU oracle ${obstacle ?? ''}`);
      const { vm, vcpu, identity } = machineForOracle(accelerator, index);
      const guest = new GuestRunner(vm, vcpu, identity);
      const { rows } = selectRows(hostFlags());
      // Code with segments is not translated.
      const kinds = native.kinds.filter((kind) => accelerator === 'interp' || !kind.startsWith('segmented'));
      const report = runOracle({ native, guest, rows, cases, seed, kinds, inBlocks, keep: 10 });
      expect(report.failures.map(describeFailure).join('\n')).toBe('');
      expect(report.failed.size).toBe(0);
    },
  );

  it('agrees on shuffles and multiplications where V8 has no AVX to use', ({ skip }) => {
    if (native === undefined) return skip(`the CPU oracle ${obstacle ?? ''}`);
    const program = fileURLToPath(new URL('../../../dist/testing/oracle/main.js', import.meta.url));
    const cases = ['--cases', '1000', '--kind', '64', '--rows', 'pshufb|pmulhrsw|pslldq|psrldq'];
    const { status, stdout } = spawnSync(process.execPath, ['--no-enable-avx', program, ...cases, '--accel', 'wasm'], {
      encoding: 'utf8',
    });
    expect(stdout).toMatch(/^1000 cases of \d+ encodings in [\d.]+ s, 0 differ$/m);
    expect(status).toBe(0);
  });

  it('sees a flag, a register, a byte of memory and a bit of XMM15 that are wrong', ({ skip }) => {
    if (native === undefined) return skip(`the CPU oracle ${obstacle ?? ''}`);
    const rows = INSTRUCTIONS.filter(({ name, operands }) => name === 'add' && operands[0].kind === 'E');
    const places = [CASE.RFLAGS, CASE.GPR + 9, CASE.WINDOW + 5, CASE.FX + FX.XMM + 255];
    const seen = places.map((at) => {
      const wrong: Runner = {
        run(input) {
          const results = native.run(input);
          results[at] ^= 1;
          return results;
        },
      };
      return runOracle({ native, guest: wrong, rows, cases: 20, seed: 1, keep: 1 }).failures[0].differences[0].what;
    });
    expect(seen).toEqual(['flags', 'r9', 'memory+5', 'xmm15']);
  });
});
