import { describe, expect, it } from 'vitest';
import { writeKernel } from '../../../testing/fuzz/kernel.js';
import { PLACE, VARIABLE, type Setting } from '../../../testing/fuzz/place.js';
import { startState } from '../../../testing/fuzz/start.js';
import { random } from '../../../testing/oracle/random.js';
import { GuestBench } from '../../../testing/x86-guest.js';
import { dword, ptr, R } from '../assembler/index.js';

// INVLPG serializes: what follows is fetched through the page tables as they are then (SDM vol. 3 §9.3, §4.10.4.2).
describe('fetching instructions', () => {
  it.each([32, 64] as const)('faults behind the INVLPG that takes away its own page, %i-bit', (bits) => {
    const bench = new GuestBench();
    const setting: Setting = { bits, ring: 0 };
    writeKernel(bench.vm.backing, setting);
    const entry = bits === 64 ? PLACE.TABLE + (PLACE.CODE >> 12) * 8 : PLACE.TABLE_32 + (PLACE.CODE >> 12) * 4;
    let behind = 0;
    bench.asm(bits, PLACE.CODE, (asm) => {
      const again = asm.label();
      asm.emit('mov', R.edx, 5);
      asm.bind(again);
      asm.emit('dec', R.edx);
      asm.emit('jnz', again);
      asm.emit('btr', dword([entry]), 0);
      asm.emit('invlpg', ptr([PLACE.CODE]));
      behind = Number(asm.here);
      asm.emit('inc', R.edx);
      asm.emit('jmp', again);
    });
    // Faults lead on in the next page.
    bench.asm(bits, PLACE.CODE + 0x1000, (asm) => {
      asm.emit('hlt');
    });
    for (let i = 0; i < 32; i++) bench.setU64(PLACE.VARIABLES + VARIABLE.RECOVERY + i * 8, BigInt(PLACE.CODE + 0x1000));
    bench.set({ ...startState(setting, PLACE.CODE, bench.view, random(1)), rflags: 2n });
    expect(bench.run(10_000).kind).toBe('halt');
    expect(bench.reg('rdx')).toBe(0n);
    expect(bench.state.cr2).toBe(BigInt(behind));
    expect(bench.u32(PLACE.VARIABLES + VARIABLE.FAULTS)).toBe(1);
  });
});
