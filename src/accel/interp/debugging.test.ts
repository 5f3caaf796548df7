import { describe, expect, it } from 'vitest';
import { R, byte, dword } from '../../cpu/x86/assembler/index.js';
import type { DebugRequest } from '../../iface/vcpu.js';
import { GuestBench, LAYOUT32, SEL, protectedMode } from '../../testing/x86-guest.js';

const PROGRAM = 0x4000;
const DATA = 0x5000;
const HANDLER = 0x7000;
const STEP: DebugRequest = { singleStep: true, breakpoints: [], watchpoints: [] };
const NOTHING: DebugRequest = { singleStep: false, breakpoints: [], watchpoints: [] };
const breakAt = (...addresses: readonly number[]): DebugRequest => ({
  ...NOTHING,
  breakpoints: addresses.map((address) => BigInt(address)),
});

/** A loop of three instructions, one byte, two bytes and two bytes long, in protected mode with interrupts on. */
function bench(): GuestBench {
  const g = new GuestBench();
  const base = protectedMode(g);
  g.asm(32, PROGRAM, (a) => {
    const loop = a.bind();
    a.emit('nop');
    a.emit('mov', byte([R.ebx]), R.al);
    a.emit('jmp', loop);
  });
  g.asm(32, HANDLER, (a) => {
    a.emit('inc', dword([DATA + 0x10]));
    a.emit('iret');
  });
  g.gate(LAYOUT32.IDT + 0x30 * 8, SEL.CODE0, HANDLER, 0x8e);
  g.set({ ...base, rip: BigInt(PROGRAM), rflags: 0x202n, gpr: { ...base.gpr, rbx: BigInt(DATA) } });
  return g;
}

describe('a breakpoint at an instruction that lies in two pages', () => {
  it('is met each time round, also after code was translated while there was none', () => {
    const g = new GuestBench();
    const straddling = PROGRAM + 0xfff;
    g.asm(32, straddling, (a) => {
      const top = a.bind();
      a.emit('mov', R.eax, 5);
      a.emit('inc', R.ecx);
      a.emit('jmp', top);
    });
    g.set({ ...protectedMode(g), rip: BigInt(straddling) });
    for (let time = 0; time < 3; time++) {
      g.cpu.setDebug(NOTHING);
      for (let n = 0; n < 20; n++) g.run(300);
      g.cpu.setDebug(breakAt(straddling));
      for (let round = 0; round < 3; round++) {
        const before = g.cpu.retired;
        expect(g.run().kind).toBe('debug');
        expect(g.cpu.retired - before).toBeLessThanOrEqual(3n);
        expect(g.state.rip).toBe(BigInt(straddling));
      }
    }
  });
});

describe('single step for a debugger', () => {
  it('runs one instruction', () => {
    const g = bench();
    g.cpu.setDebug(STEP);
    const seen: bigint[] = [];
    for (let n = 0; n < 4; n++) {
      expect(g.run()).toEqual({ kind: 'debug', reason: { kind: 'step' } });
      seen.push(g.state.rip);
    }
    expect(seen.map((rip) => Number(rip) - PROGRAM)).toEqual([1, 3, 0, 1]);
  });

  it('does not end up in an interrupt handler', () => {
    const g = bench();
    g.cpu.setDebug(STEP);
    g.interrupt(0x30);
    g.run();
    expect(g.state.rip).toBe(BigInt(PROGRAM + 1));
    g.cpu.setDebug(NOTHING);
    g.run(10);
    expect(g.u32(DATA + 0x10)).toBe(1);
  });

  it('ends behind HLT, and a step from there waits for an interrupt', () => {
    const g = bench();
    g.bytes(PROGRAM, [0xf4]);
    g.cpu.setDebug(STEP);
    expect(g.run()).toEqual({ kind: 'debug', reason: { kind: 'step' } });
    expect(g.state.rip).toBe(BigInt(PROGRAM + 1));
    expect(g.run()).toEqual({ kind: 'halt' });
    g.interrupt(0x30);
    expect(g.run().kind).toBe('debug');
    expect(g.state.rip).toBe(BigInt(HANDLER + 6));
  });

  it('sees an exception as an instruction', () => {
    const g = bench();
    g.bytes(PROGRAM, [0x0f, 0x0b]);
    g.cpu.setDebug(STEP);
    g.run();
    expect(g.state.rip).toBe(BigInt(LAYOUT32.HANDLERS + 6 * 8));
  });
});

describe('breakpoints of a debugger', () => {
  it('stop before the instruction, each time, and once', () => {
    const g = bench();
    g.cpu.setDebug(breakAt(PROGRAM + 1));
    const before = g.cpu.retired;
    for (const count of [1n, 4n, 7n]) {
      expect(g.run()).toEqual({ kind: 'debug', reason: { kind: 'breakpoint', address: BigInt(PROGRAM + 1) } });
      expect(g.cpu.retired - before).toBe(count);
    }
  });

  it('stop in code that has been decoded, and in no other page', () => {
    const g = bench();
    g.run(100);
    g.cpu.setDebug(breakAt(PROGRAM + 0x1001));
    expect(g.run(100)).toEqual({ kind: 'budget' });
    g.cpu.setDebug(breakAt(PROGRAM + 1, PROGRAM + 0x1001));
    expect(g.run().kind).toBe('debug');
    expect(g.state.rip).toBe(BigInt(PROGRAM + 1));
    // It went away in between.
    g.cpu.setDebug(NOTHING);
    expect(g.run(100)).toEqual({ kind: 'budget' });
    g.cpu.setDebug(breakAt(PROGRAM + 1));
    const before = g.cpu.retired;
    expect(g.run().kind).toBe('debug');
    expect(g.cpu.retired - before).toBeLessThan(4n);
  });

  it('stop at an instruction across two pages, and at one that is changed', () => {
    const g = bench();
    const start = 0x4ffc;
    // MOV [EBX], AL; ADD EAX, imm32 across the end of the page; JMP back.
    g.bytes(start, [0x88, 0x03, 0x05, 1, 0, 0, 0, 0xeb, 0xf7]);
    g.set({ ...g.state, gpr: { rbx: BigInt(DATA + 0x100), rax: 0n }, rip: BigInt(start) });
    g.cpu.setDebug(breakAt(start + 2));
    for (let n = 0; n < 3; n++) {
      expect(g.run().kind).toBe('debug');
      expect(g.state.rip).toBe(BigInt(start + 2));
      expect(g.reg('rax')).toBe(BigInt(n));
    }
    // The store goes to the immediate now.
    g.set({ ...g.state, gpr: { rbx: BigInt(start + 3), rax: 7n }, rip: BigInt(start) });
    expect(g.run().kind).toBe('debug');
    expect(g.run().kind).toBe('debug');
    expect(g.reg('rax')).toBe(14n);
  });

  it('stop in a handler that an interrupt leads to', () => {
    const g = bench();
    g.cpu.setDebug(breakAt(PROGRAM, HANDLER));
    expect(g.run().kind).toBe('debug');
    g.interrupt(0x30);
    expect(g.run()).toEqual({ kind: 'debug', reason: { kind: 'breakpoint', address: BigInt(HANDLER) } });
  });

  it('change nothing else: the run is the same', () => {
    const [with_, without] = [bench(), bench()];
    with_.cpu.setDebug(breakAt(0x1234));
    for (const g of [with_, without]) {
      g.interrupt(0x30);
      expect(g.run(1000)).toEqual({ kind: 'budget' });
    }
    expect({ ...with_.state, tsc: 0n }).toEqual({ ...without.state, tsc: 0n });
  });
});

describe('watchpoints of a debugger', () => {
  it('stop behind the instruction that wrote, though the page was in use before', () => {
    const g = bench();
    g.run(100);
    g.cpu.setDebug({
      ...NOTHING,
      watchpoints: [{ address: BigInt(DATA), length: 4, access: 'write' }],
    });
    expect(g.run()).toEqual({
      kind: 'debug',
      reason: { kind: 'watchpoint', address: BigInt(DATA), access: 'write' },
    });
    expect(g.state.rip).toBe(BigInt(PROGRAM + 3));
    g.cpu.setDebug(NOTHING);
    expect(g.run(100)).toEqual({ kind: 'budget' });
  });

  it('are for their bytes only, and for reads when asked', () => {
    const g = bench();
    g.bytes(PROGRAM + 1, [0x8a, 0x03]);
    const watch = (address: number, access: 'write' | 'access'): void =>
      g.cpu.setDebug({ ...NOTHING, watchpoints: [{ address: BigInt(address), length: 4, access }] });
    watch(DATA, 'write');
    expect(g.run(100)).toEqual({ kind: 'budget' });
    watch(DATA + 1, 'access');
    expect(g.run(100)).toEqual({ kind: 'budget' });
    watch(DATA - 3, 'access');
    expect(g.run(100)).toEqual({
      kind: 'debug',
      reason: { kind: 'watchpoint', address: BigInt(DATA - 3), access: 'access' },
    });
  });
});

describe('translation for a debugger', () => {
  it('knows nothing above 4 GiB outside long mode', () => {
    const g = bench();
    expect(g.cpu.translate(0x1234n)).toBe(0x1234);
    expect(g.cpu.translate(0x1_0000_1234n)).toBeUndefined();
    expect(g.cpu.translate(0xffff_8000_0000_0000n)).toBeUndefined();
  });
});
