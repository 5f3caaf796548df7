import { describe, expect, it } from 'vitest';
import { MIB } from '../../base/units.js';
import { buildDemo } from '../../cpu/x86/demo/image.js';
import { compareMemory, compareStates } from './compare.js';
import { runLockstep } from './lockstep.js';
import { SteppedMachine, type SteppedOptions } from './machine.js';
import { noise } from '../noise.js';
import type { MachineConfig } from '../../vmm/config.js';

const CONFIG: MachineConfig = {
  cpu: 'x86-64-v2',
  memory: 16 * MIB,
  boot: { kernel: { name: 'demo', data: buildDemo().image, commandLine: '', modules: [] } },
  disks: [],
  debugExit: true,
  noReboot: true,
  clock: 'virtual',
};
/** The demonstration guest goes through all modes of the processor, and takes about 2.4 million instructions. */
const LENGTH = 2_000_000;

describe('the demonstration guest on interp and wasm side by side', () => {
  it.each([1, 30, undefined])('does the same to the end, translated after %s jumps to a place', (hotAfter) => {
    const { machines, differences } = runLockstep({
      config: CONFIG,
      sides: [{ accelerator: 'interp' }, { accelerator: 'wasm', hotAfter }],
      from: 0n,
      to: 100_000_000n,
      step: 20_000n,
      memoryEvery: 1,
    });
    expect(differences).toEqual([]);
    expect(machines[0].exit).toEqual({ kind: 'power-off' });
    expect(machines[0].text).toContain('checks passed');
  });

  it.each(['interp', 'wasm'] as const)('does the same on WebAssembly of %s that was made before it', (accelerator) => {
    const { machines, differences } = runLockstep({
      config: CONFIG,
      sides: [
        { accelerator, hotAfter: 1 },
        { accelerator, hotAfter: 1, ahead: true },
      ],
      from: 0n,
      to: 100_000_000n,
      step: 100_000n,
      memoryEvery: 1,
    });
    expect(differences).toEqual([]);
    expect(machines[1].text).toContain('checks passed');
  });

  it('saved on one and resumed on the other, back and forth, ends up bit by bit where it would have', () => {
    const sides: SteppedOptions[] = [{ accelerator: 'interp' }, { accelerator: 'wasm', hotAfter: 3, ahead: true }];
    const dice = noise(7);
    const straight = SteppedMachine.boot(CONFIG, sides[0]);
    let moved = SteppedMachine.boot(CONFIG, sides[1]);
    let text = '';
    for (let at = 0n, n = 0; n < 12; n++) {
      at += BigInt(dice() % (LENGTH / 8));
      // A resumed machine counts from 0.
      moved.advance(moved.retired + at - straight.retired);
      straight.advance(at);
      text += moved.text;
      moved = SteppedMachine.resume(moved.save(), sides[n & 1]);
    }
    expect(compareStates(straight.state, moved.state)).toEqual([]);
    expect(compareMemory(straight.machine.ram, moved.machine.ram)).toEqual([]);
    const [a, b] = [straight.save(), moved.save()];
    expect(Buffer.compare(a.toBytes(), b.toBytes())).toBe(0);
    straight.advance(100_000_000n);
    moved.advance(100_000_000n);
    expect(straight.exit).toEqual({ kind: 'power-off' });
    expect(moved.exit).toEqual(straight.exit);
    expect(text + moved.text).toBe(straight.text);
  });
});
